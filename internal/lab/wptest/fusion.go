package wptest

import (
	"os"

	"github.com/stretchr/testify/require"
)

// WPFusionCalls lists what the WP Fusion stub has seen since the start or the
// last [Site.ForgetWPFusionCalls], oldest first, a line each:
//
//	set_user_meta USER KEY,KEY       fields were stored
//	set_tags USER TAG,TAG            tags were stored
//	action NAME USER VALUES          wpf_tags_applied, wpf_tags_removed,
//	                                 wpf_tags_modified, wpf_user_imported or
//	                                 wpf_user_updated fired
//	crm HANDLER USER …               WP Fusion would have called the CRM
//
// WP Fusion fires wpf_tags_removed with one empty tag for a user's first tags.
// Users that the test makes or changes are recorded too, whether through
// [Site.PHP] or the harness.
func (s *Site) WPFusionCalls() []string {
	s.tb.Helper()
	return s.lines("wp-fusion.txt")
}

// ForgetWPFusionCalls empties the record.
func (s *Site) ForgetWPFusionCalls() {
	s.tb.Helper()
	if err := os.Truncate(s.path("wp-fusion.txt"), 0); !os.IsNotExist(err) {
		require.NoError(s.tb, err)
	}
}
