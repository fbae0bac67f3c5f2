/*
 * Preloaded into a redis-server, it makes each sync of a file take longer, as a
 * busy disk does. The delay stands in SLOWDISK_MS, in milliseconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void delay(void) {
	const char *text = getenv("SLOWDISK_MS");
	long ms = text ? atol(text) : 0;
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
	while (nanosleep(&left, &left) != 0) {
	}
}

int fdatasync(int fd) {
	static int (*real)(int);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	delay();
	return real(fd);
}

int fsync(int fd) {
	static int (*real)(int);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fsync");
	delay();
	return real(fd);
}
