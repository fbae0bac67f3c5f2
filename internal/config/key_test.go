package config_test

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
)

func TestKeysAreReadInEverySpelling(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xfb, 0xff}, 16)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		c, err := config.Load(config.All, nil, complete("SPILLWAY_SECRET_KEY= "+encoding.EncodeToString(key)+" "))
		require.NoError(t, err)
		require.Equal(t, key, c.SecretKey)
	}
}
