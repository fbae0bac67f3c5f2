package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// needRoot skips a test that mounts folders, where it may not.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "true").Run() != nil {
		t.Skip("needs root and namespaces of its own")
	}
	for _, tool := range []string{"dpkg-deb", "ip", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
}

// aside runs a script of testdata where nothing that it mounts, starts or
// listens on is seen by the machine, and where all of that ends with it.
func aside(t *testing.T, script string, args ...string) {
	t.Helper()
	command := []string{"--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", filepath.Join("testdata", script)}
	out, err := exec.CommandContext(t.Context(), "unshare", append(command, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

// standIns builds the program that serves the stand-in CRM and site.
func standIns(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "standins")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./internal/lab/sandbox/run")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	return path
}

func TestTheDebianPackageIsInstalledUpgradedRunRemovedAndPurged(t *testing.T) {
	needRoot(t)
	root, err := filepath.Abs("../../var/debian")
	require.NoError(t, err)
	if _, err := os.Stat(root); err != nil {
		const remedy = "no Debian in var/debian: .ci/debian makes one"
		if os.Getenv("CI") != "" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	out := t.TempDir()
	build := exec.CommandContext(t.Context(), "../dist")
	build.Env = append(os.Environ(), "VERSION=0.0.2", "OUT="+out, "ARCHES=amd64", "PARTS=package")
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	aside(t, "package.sh", root, filepath.Join(out, "spillway_0.0.2_amd64.deb"), standIns(t), t.TempDir())
}

func TestTheImagesRootRunsReadOnlyAsItsUser(t *testing.T) {
	needRoot(t)
	for _, tool := range []string{"redis-server", "readelf"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	programs := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", programs+"/", "./cmd/...")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	aside(t, "image.sh", programs, standIns(t), t.TempDir())

	// What the script makes by hand is what the Dockerfile's last stage copies.
	dockerfile := read(t, "Dockerfile")
	for _, line := range []string{
		"FROM scratch\n", "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n", "COPY --from=build /src/bin/ /\n",
		"COPY --from=build --chown=65534:65534 /data/ /\n", "USER 65534:65534\n", `org.opencontainers.image.version="$VERSION"`,
	} {
		require.Contains(t, dockerfile, line)
	}
}
