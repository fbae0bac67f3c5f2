package wptest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/site/wptest"
)

func TestStart(t *testing.T) {
	b := time.Now()
	s := wptest.Start(t, wptest.Options{})
	t.Log(time.Since(b))
	b = time.Now()
	t.Log(s.PHP(`echo get_bloginfo("version"), implode(",", get_option("active_plugins"));`), time.Since(b))
	b = time.Now()
	status, body := s.Get("/")
	require.Equal(t, 200, status)
	t.Log(len(body), time.Since(b))
	u, ok := s.UserByID(2)
	require.True(t, ok)
	t.Logf("%+v", u)
	t.Log(s.Log())
}
