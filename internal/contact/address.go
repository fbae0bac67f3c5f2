package contact

import (
	"strings"

	"golang.org/x/net/idna"
)

// EmailAddress writes an e-mail address as WordPress takes it: with a domain in
// ASCII, "info@xn--mller-kva.de" for "info@müller.de". Other characters in front
// of the @ stay: WordPress knows no such address. What is no address is
// returned as it is.
func EmailAddress(address string) string {
	address = strings.TrimSpace(address)
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil || isASCII(address[at+1:]) {
		return address
	}
	return address[:at+1] + domain
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > '~' })
}
