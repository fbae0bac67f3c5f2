package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// connectionCode is what the site keeps of a code.
type connectionCode struct {
	secret  string
	expires time.Time
}

// codeLife is how long a code counts.
const codeLife = time.Hour

// ConnectionCode makes a code as Tools » Spillway would, without WP Fusion's
// settings. A code that was made before is worthless.
func (s *Site) ConnectionCode() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = &connectionCode{secret: rand.Text(), expires: time.Now().Add(codeLife)}
	content, err := json.Marshal(map[string]string{"site": s.url, "secret": s.code.secret})
	if err != nil {
		return "" // two texts
	}
	encoded := base64.RawURLEncoding.EncodeToString(content)
	digest := sha256.Sum256([]byte(encoded))
	return "spw1." + encoded + "." + hex.EncodeToString(digest[:4])
}

// AgeCode makes the current code older.
func (s *Site) AgeCode(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.code != nil {
		s.code.expires = s.code.expires.Add(-by)
	}
}

// connect is POST /wp-json/spillway/v1/connect.
func (s *Site) connect(_ *http.Request, body []byte) answer {
	var wanted struct {
		Secret any `json:"secret"`
		DryRun any `json:"dry_run"`
	}
	broken := json.Unmarshal(body, &wanted) != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	secret, _ := wanted.Secret.(string)
	if broken || s.code == nil || secret != s.code.secret || !time.Now().Before(s.code.expires) {
		return restError(http.StatusForbidden, "spillway_connect_refused", "This is no valid connection code.")
	}
	given := map[string]any{"site": s.url, "user": s.options.User, "password": "", "wp_fusion": nil}
	if dry, _ := wanted.DryRun.(bool); !dry {
		password := rand.Text()[:24]
		s.code, s.exchange = nil, append(s.exchange, password)
		given["password"] = password
	}
	return reply(http.StatusOK, given)
}

// isExchanged reports a password that was made for a code.
func (s *Site) isExchanged(password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.exchange, password)
}
