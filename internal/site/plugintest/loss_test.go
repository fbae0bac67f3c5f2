package plugintest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/site/wptest"
)

//go:embed testdata/losses.php
var losses string

// What is answered is in the database, whichever query of a request comes to a
// connection that is gone, or finds that a hook has ended the transaction.
func TestNothingIsAnsweredThatALostTransactionTookAlong(t *testing.T) {
	t.Parallel()
	for _, fusion := range []bool{false, true} {
		t.Run("WPFusion="+strconv.FormatBool(fusion), func(t *testing.T) {
			t.Parallel()
			site := wptest.Start(t, wptest.Options{WPFusion: fusion})
			first := 0
			try := func(way, action string, alone bool) {
				first += 10_000
				head := fmt.Sprintf("$way = '%s'; $action = '%s'; $alone = %t; $first = %d;", way, action, alone, first)
				got := site.PHP(head + strings.TrimPrefix(losses, "<?php"))
				tried, err := strconv.Atoi(strings.TrimPrefix(got, "tried "))
				require.NoError(t, err, "%s, %s: %s", way, action, got)
				require.Greater(t, tried, 5, "%s, %s", way, action)
			}
			for _, action := range []string{"create", "add", "update", "update_tags", "confirm"} {
				try("KILL", action, false)
			}
			try("KILL", "create", true)
			try("ROLLBACK", "update", false)
			for _, way := range []string{"ROLLBACK", "COMMIT", "START TRANSACTION"} {
				try(way, "create", true)
				try(way, "add", true)
			}
			requireClean(t, site)
		})
	}
}
