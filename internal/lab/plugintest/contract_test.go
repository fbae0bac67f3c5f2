package plugintest

import (
	"testing"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
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
