//go:build !linux

package connect

// giveTo leaves the file to the user who made it.
func giveTo(string, string, string) error { return nil }
