package contact_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

func TestDomainsOfAddressesAreASCII(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"info@müller.de":         "info@xn--mller-kva.de",
		"Info@MÜLLER.de":         "Info@xn--mller-kva.de",
		"用户@例子.广告":               "用户@xn--fsqu00a.xn--4rr70v",
		" Ann+x@Example.com ":    "Ann+x@Example.com",
		"o'neil@my_host.example": "o'neil@my_host.example",
		"no address":             "no address",
		"a@b@müller.de":          "a@b@xn--mller-kva.de",
		"x@-ü-.de":               "x@-ü-.de",
		"":                       "",
	} {
		require.Equal(t, want, contact.EmailAddress(address), address)
	}
}
