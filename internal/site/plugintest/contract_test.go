package plugintest

import (
	"os"
	"path/filepath"
	"testing"

	"spillway/internal/site/sitetest"
	"spillway/internal/site/wptest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	sitetest.Run(t, func(t *testing.T) sitetest.Harness {
		return wptest.Start(t, wptest.Options{PHPWorkers: 8})
	})
}

func TestContractBesideWPFusion(t *testing.T) {
	t.Parallel()
	sitetest.Run(t, func(t *testing.T) sitetest.Harness {
		return wptest.Start(t, wptest.Options{PHPWorkers: 8, WPFusion: true})
	})
}

// SPILLWAY_WORDPRESS_DIRS lists trees of other WordPress versions, separated
// by colons, on which the contract is to be tested, too.
func TestContractOnOtherVersions(t *testing.T) {
	t.Parallel()
	for _, dir := range filepath.SplitList(os.Getenv("SPILLWAY_WORDPRESS_DIRS")) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			sitetest.Run(t, func(t *testing.T) sitetest.Harness {
				return wptest.Start(t, wptest.Options{PHPWorkers: 8, WordPressDir: dir})
			})
		})
	}
}
