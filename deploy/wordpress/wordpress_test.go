package wordpress_test

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/deploy/wordpress"
)

func TestZipHoldsTheWholePluginAndIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	var first, second bytes.Buffer
	require.NoError(t, wordpress.WriteZip(&first))
	require.NoError(t, wordpress.WriteZip(&second))
	require.Equal(t, first.Bytes(), second.Bytes())

	archive, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	require.NoError(t, err)
	packed := map[string]bool{}
	for _, file := range archive.File {
		packed[file.Name] = true
		require.Equal(t, os.FileMode(0o644), file.Mode(), file.Name)
		require.NotContains(t, file.Name, "test")
		reader, err := file.Open()
		require.NoError(t, err)
		content, err := io.ReadAll(reader)
		require.NoError(t, err)
		source, err := os.ReadFile(filepath.FromSlash(file.Name))
		require.NoError(t, err)
		require.Equal(t, source, content, file.Name)
	}
	require.True(t, packed["spillway-connector/spillway-connector.php"])
	require.True(t, packed["spillway-connector/uninstall.php"])
	classes, err := filepath.Glob("spillway-connector/includes/*.php")
	require.NoError(t, err)
	require.Greater(t, len(classes), 10)
	for _, class := range classes {
		require.True(t, packed[path.Clean(filepath.ToSlash(class))], class)
	}
}

// The header, the constants and the readme agree.
func TestVersionIsStatedOnce(t *testing.T) {
	t.Parallel()
	version, err := wordpress.Version()
	require.NoError(t, err)
	files, err := wordpress.Files()
	require.NoError(t, err)
	for name, pattern := range map[string]string{
		"spillway-connector.php": `'SPILLWAY_CONNECTOR_VERSION', '([^']+)'`,
		"readme.txt":             `Stable tag: (\S+)`,
	} {
		match := regexp.MustCompile(pattern).FindSubmatch(files[name])
		require.NotNil(t, match, name)
		require.Equal(t, version, string(match[1]), name)
	}
	match := regexp.MustCompile(`'SPILLWAY_CONNECTOR_PROTOCOL', (\d+)`).FindSubmatch(files["spillway-connector.php"])
	require.Equal(t, strconv.Itoa(wordpress.Protocol), string(match[1]))
}
