# image.sh PROGRAMS WORK: the image's root folder as the Dockerfile's last stage
# makes it, run read-only as its user, without an engine.
set -euo pipefail
programs=$1 work=$2

fail() { echo "FAILED: $*"; exit 1; }
until_true() {
	local tries
	for tries in $(seq 200); do
		if "$@" > /dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	fail "never true: $*: $(cat "$work"/*.log)"
}

ip link set lo up
mount --make-rprivate /
mount -t tmpfs none "$work"
root=$work/root
mkdir -p "$root"/etc/ssl/certs "$root"/var/lib/spillway "$root"/run/secrets
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp "$programs"/* "$root/"
printf abcdefgh12 > "$root/run/secrets/access_keys"
printf 0123456789 > "$root/run/secrets/admin_password"
: > "$root/run/secrets/search_key"
chown -R 65534:65534 "$root/var/lib/spillway" "$root/run/secrets"
chmod 0400 "$root"/run/secrets/*

for program in ingest worker spillway; do
	file=$(LC_ALL=C readelf -d "$root/$program" 2>&1) || true
	grep -q NEEDED <<< "$file" && fail "$program is not static"
done
[ -z "$(find "$root" -name 'sh' -o -name 'bash' -o -name 'busybox')" ] || fail "a shell is in the image"

mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
in_image() { chroot --userspec=65534:65534 "$root" "$@"; }
touch "$root/x" 2> /dev/null && fail "the root is writable"

redis-server --port 6379 --save '' --appendonly no --dir "$work" > "$work/redis.log" 2>&1 &
until_true bash -c 'redis-cli ping | grep -q PONG'
export SPILLWAY_REDIS_URL=redis://127.0.0.1:6379/0
SPILLWAY_ADMIN_ADDR=:8081 SPILLWAY_ACCESS_KEYS_FILE=/run/secrets/access_keys SPILLWAY_ADMIN_PASSWORD_FILE=/run/secrets/admin_password \
	SPILLWAY_SEARCH_KEY_FILE=/run/secrets/search_key chroot --userspec=65534:65534 "$root" /ingest > "$work/ingest.log" 2>&1 &
ingest=$!
SPILLWAY_CRM_URL=https://app.account.thepulsespot.com SPILLWAY_CRM_TOKEN=token SPILLWAY_SITE_URL=https://www.example.com SPILLWAY_SITE_USER=u \
	SPILLWAY_SITE_APP_PASSWORD=p chroot --userspec=65534:65534 "$root" /worker > "$work/worker.log" 2>&1 &
worker=$!
until_true in_image /ingest health
until_true in_image /worker health
answer=$(curl -s "http://127.0.0.1:8080/?wpf_action=update&contact_id=7&access_key=abcdefgh12")
grep -q '"queued"' <<< "$answer" || fail "a webhook was answered: $answer"
shown=$(in_image /spillway contact 7)
grep -q '^contact *7' <<< "$shown" || fail "the operator's command: $shown"
kill -TERM "$ingest" "$worker"
wait "$ingest" || fail "ingest ended with $?"
wait "$worker" || fail "worker ended with $?"
