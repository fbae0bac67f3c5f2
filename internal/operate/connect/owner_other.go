//go:build !linux

package connect

// giveTo leaves the file to whoever made it.
func giveTo(string, string, string) error { return nil }
