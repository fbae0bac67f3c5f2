package plugintest

import (
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
