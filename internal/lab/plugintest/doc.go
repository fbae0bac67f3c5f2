// Package plugintest tests the connector plugin in a real WordPress: the
// protocol's contract, and what only this implementation has to bear, such as
// WP Fusion beside it, hooks of other plugins that misbehave, transactions,
// several PHP workers at once, and networks of sites. It holds tests only.
package plugintest
