// Package e2e tests the programs as they are shipped: the built binaries as
// processes, a private Redis, a real WordPress with the connector plugin, and
// the sandbox's CRM. It has tests only.
package e2e
