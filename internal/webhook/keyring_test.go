package webhook_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/webhook"
)

func TestWithoutAnAcceptedKeyNothingElseIsTold(t *testing.T) {
	t.Parallel()

	for name, r := range map[string]*http.Request{
		"no key":              get("/?wpf_action=update&contact_id=5"),
		"empty key":           get("/?access_key=&wpf_action=update&contact_id=5"),
		"wrong key":           get("/?access_key=x&wpf_action=update&contact_id=5"),
		"other case":          get("/?access_key=" + strings.ToUpper(key) + "&wpf_action=update&contact_id=5"),
		"beginning":           get("/?access_key=" + key[:5] + "&wpf_action=update&contact_id=5"),
		"list":                get("/?access_key[]=" + key + "&wpf_action=update&contact_id=5"),
		"key in JSON":         post("/?wpf_action=update", jsonType, `{"id":5,"access_key":"`+key+`"}`),
		"test":                get("/?wpf_action=test"),
		"no action":           get("/"),
		"unknown action":      get("/?access_key=x&wpf_action=delete"),
		"bad contact":         get("/?access_key=x&wpf_action=update&contact_id=-1"),
		"malformed JSON":      post("/?access_key=x&wpf_action=update", jsonType, `{`),
		"malformed form":      post("/?access_key=x", "multipart/form-data; boundary=b", "--b"),
		"query before form":   post("/?access_key=x&wpf_action=update&contact_id=5", formType, "access_key="+key),
		"header before form":  withHeader(post("/?wpf_action=update&contact_id=5", formType, "access_key="+key), "X-Access-Key", "x"),
		"query before header": withHeader(get("/?access_key=x&wpf_action=update&contact_id=5"), "X-Access-Key", key),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, r)
			requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
		})
	}
}

func TestAKeyBelongsToItsSiteAndNoOther(t *testing.T) {
	t.Parallel()

	ring, err := webhook.NewKeyring(map[string][]string{"shop": {"00123456", "an other"}, "blog": {"a third"}})
	require.NoError(t, err)
	require.Equal(t, "shop", ring.Site("00123456"))
	require.Equal(t, "shop", ring.Site("an other"))
	require.Equal(t, "blog", ring.Site("a third"))
	for _, wrong := range []string{"", "123456", "00123456 ", "00123456\x00", "an", "an other00123456"} {
		require.Empty(t, ring.Site(wrong), "%q", wrong)
	}
	var none *webhook.Keyring
	require.Empty(t, none.Site(""))
	require.Empty(t, new(webhook.Keyring).Site(""))
}

func TestKeyringNeedsKeys(t *testing.T) {
	t.Parallel()

	for want, keys := range map[string]map[string][]string{
		"there is no site":                                   nil,
		"site blog has no access key":                        {"shop": {"s3cret"}, "blog": nil},
		"access key 2 of 2 of site shop is empty":            {"shop": {"s3cret", ""}},
		"access key 1 of site shop is also one of site blog": {"shop": {"s3cret"}, "blog": {"s3cret"}},
	} {
		_, err := webhook.NewKeyring(keys)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
	}
}
