package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is where a report was taken.
type Machine struct {
	Cores     int     `json:"cores"`
	CPU       string  `json:"cpu"`
	MemoryGB  float64 `json:"memory_gb"`
	Kernel    string  `json:"kernel"`
	Go        string  `json:"go"`
	Redis     string  `json:"redis"`
	PHP       string  `json:"php"`
	WordPress string  `json:"wordpress"`
	Database  string  `json:"database"`
	// Load is the load average of the last minute before the run: a quiet
	// machine has less than a tenth.
	Load float64 `json:"load"`
}

func machine(ctx context.Context) Machine {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m := Machine{
		Cores: runtime.NumCPU(), Go: strings.Replace(runtime.Version(), "go", "Go ", 1),
		CPU:       strings.TrimSpace(match("/proc/cpuinfo", `(?m)^model name\s*:\s*(.*)$`)),
		Kernel:    strings.TrimSpace(match("/proc/sys/kernel/osrelease", `(.*)`)),
		WordPress: match("/usr/share/wordpress/wp-includes/version.php", `\$wp_version = '([^']+)'`),
		Redis:     firstNumber(ctx, "redis-server", "--version"),
		PHP:       firstNumber(ctx, "php", "-r", "echo PHP_VERSION;"),
		Database:  firstNumber(ctx, "mariadbd", "--version"),
	}
	kilobytes, _ := strconv.ParseFloat(match("/proc/meminfo", `(?m)^MemTotal:\s*(\d+)`), 64)
	m.MemoryGB = kilobytes / 1024 / 1024
	m.Load, _ = strconv.ParseFloat(match("/proc/loadavg", `^([\d.]+)`), 64)
	return m
}

func (m Machine) write(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%d cores (%s), %.0f GB, Linux %s, %s, Redis %s, PHP %s, WordPress %s, MariaDB %s; load average %.2f\n",
		m.Cores, m.CPU, m.MemoryGB, m.Kernel, m.Go, m.Redis, m.PHP, m.WordPress, m.Database, m.Load)
}

// match returns the first group of a pattern in a file, "unknown" without one.
func match(path, pattern string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return "unknown"
	}
	return string(found[1])
}

// firstNumber returns the version that a program prints.
func firstNumber(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "unknown"
	}
	found := regexp.MustCompile(`\d+\.\d+\.\d+`).Find(out)
	if found == nil {
		return "unknown"
	}
	return string(found)
}
