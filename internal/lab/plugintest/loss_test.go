package plugintest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
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
				// A few at a time, so that no call of the script takes long.
				const several = 20
				for from := 1; ; from += several {
					head := fmt.Sprintf("$way = '%s'; $action = '%s'; $alone = %t; $first = %d; $from = %d; $several = %d;",
						way, action, alone, first, from, several)
					got := site.PHP(head + strings.TrimPrefix(losses, "<?php"))
					tried, err := strconv.Atoi(strings.TrimPrefix(got, "tried "))
					require.NoError(t, err, "%s, %s: %s", way, action, got)
					if tried < several {
						require.Greater(t, from+tried, 6, "%s, %s", way, action)
						break
					}
				}
			}
			for _, action := range []string{"create", "update", "update_tags", "confirm"} {
				try("KILL", action, false)
			}
			for _, way := range []string{"KILL", "ROLLBACK", "COMMIT", "START TRANSACTION"} {
				try(way, "create", true)
				try(way, "add", true)
			}
			requireClean(t, site)
		})
	}
}
