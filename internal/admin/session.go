package admin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// sessionLife is a working day; after it one signs in again.
	sessionLife = 12 * time.Hour
	cookieName  = "spillway_session"
	// The prefix makes browsers refuse the cookie from plain HTTP and from
	// other hosts of the domain.
	secureCookieName = "__Host-" + cookieName
	tokenLength      = 26 // of rand.Text: 130 random bits
)

// sessions are kept in Redis, so that every replica knows them and a logout
// ends one everywhere. Redis holds a digest of the token as the key and, as the
// value, the password authenticated with the token: who reads Redis can use
// neither, and a changed password ends all sessions.
type sessions struct {
	rdb redis.UniversalClient
	// passwords are the installation's and, on a site's dashboard, the site's own.
	passwords []string
}

// A reach is what a person who has signed in may open.
type reach int

const (
	nothing reach = iota
	oneSite
	everything
)

func sessionKey(token string) string {
	digest := sha256.Sum256([]byte(token))
	return "spw:session:" + base64.RawURLEncoding.EncodeToString(digest[:])
}

func proof(token, password string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(password))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// begin returns the token of a new session.
func (s *sessions) begin(ctx context.Context, password string) (string, error) {
	token := rand.Text()
	if err := s.rdb.Set(ctx, sessionKey(token), proof(token, password), sessionLife).Err(); err != nil {
		return "", fmt.Errorf("beginning a session: %w", err)
	}
	return token, nil
}

// reach returns what the session with a token opens.
func (s *sessions) reach(ctx context.Context, token string) (reach, error) {
	if len(token) != tokenLength {
		return nothing, nil
	}
	kept, err := s.rdb.Get(ctx, sessionKey(token)).Result()
	if errors.Is(err, redis.Nil) {
		return nothing, nil
	}
	if err != nil {
		return nothing, fmt.Errorf("looking for a session: %w", err)
	}
	found := nothing
	for i, password := range s.passwords {
		if subtle.ConstantTimeCompare([]byte(kept), []byte(proof(token, password))) == 1 {
			found = max(found, everything-reach(min(i, 1)))
		}
	}
	return found, nil
}

func (s *sessions) end(ctx context.Context, token string) error {
	if err := s.rdb.Del(ctx, sessionKey(token)).Err(); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// overTLS reports whether the browser's connection is encrypted, here or at a
// proxy. A client that lies about the proxy makes its own cookie useless.
func overTLS(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",") // the browser's, if proxies stand in a row
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https")
}

func cookieOf(r *http.Request, token string, life time.Duration) *http.Cookie {
	cookie := &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: overTLS(r),
	}
	if cookie.Secure {
		cookie.Name = secureCookieName
	}
	if token == "" {
		cookie.MaxAge = -1
	}
	return cookie
}

// tokenOf returns the session's token that a request carries, if any.
func tokenOf(r *http.Request) string {
	name := cookieName
	if overTLS(r) {
		name = secureCookieName
	}
	cookie, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}
