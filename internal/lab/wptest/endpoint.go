package wptest

import (
	_ "embed"
	"strings"
)

//go:embed testdata/wp-fusion-endpoint.php
var endpointSource string

// FusionEndpoint is a must-use plugin, for [Options].Plugins, that answers at WP
// Fusion's endpoint as the paid edition does, by what its public description and
// old public copies say: its pages, its lock on a contact for a minute, and what
// it makes of a CRM that fails. It reads contacts from the CRM at crmURL.
func FusionEndpoint(crmURL, token, accessKey string) (name, source string) {
	return "wp-fusion-endpoint.php", strings.NewReplacer("{{.CRM}}", crmURL, "{{.Token}}", token, "{{.Key}}", accessKey).Replace(endpointSource)
}

// EndpointCalls lists what [FusionEndpoint] was asked for, oldest first:
// "ACTION ID", and "overlap" for each request that met another one under way.
func (s *Site) EndpointCalls() []string {
	s.tb.Helper()
	return s.lines("endpoint.txt")
}
