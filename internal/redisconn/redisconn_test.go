package redisconn_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/redisconn"
)

func TestParseReadsEveryForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url    string
		addrs  []string
		master string
		db     int
		secure bool
	}{
		{"redis://127.0.0.1:6379/3", []string{"127.0.0.1:6379"}, "", 3, false},
		{"redis://cache", []string{"cache:6379"}, "", 0, false},
		{"redis://[::1]:7000", []string{"[::1]:7000"}, "", 0, false},
		{"rediss://u:p@cache:6380/1", []string{"cache:6380"}, "", 1, true},
		{"redis-sentinel://a,b:26380/mymaster/2?tls=true", []string{"a:26379", "b:26380"}, "mymaster", 2, true},
		{"redis-sentinel://u:p%40@a:26380,b/mymaster", []string{"a:26380", "b:26379"}, "mymaster", 0, false},
		{"redis-cluster://[::1]:7000,[::2],c", []string{"[::1]:7000", "[::2]:6379", "c:6379"}, "", 0, false},
		{"redis-cluster://a?tls=1", []string{"a:6379"}, "", 0, true},
		{"redis://a/0?tls=True", []string{"a:6379"}, "", 0, true},
		{"redis://a/0?tls=false", []string{"a:6379"}, "", 0, false},
		{"rediss://a?tls=t", []string{"a:6379"}, "", 0, true},
		{"redis-sentinel://a/mymaster/?sentinel_password=s", []string{"a:26379"}, "mymaster", 0, false},
		{"unix:///run/spillway-redis/redis.sock", []string{"/run/spillway-redis/redis.sock"}, "", 0, false},
		{"unix:///run/r.sock?db=2", []string{"/run/r.sock"}, "", 2, false},
		{"redis-cluster://a:7000,b:7001", []string{"a:7000", "b:7001"}, "", 0, false},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			options, err := redisconn.Parse(test.url)
			require.NoError(t, err)
			require.Equal(t, test.addrs, options.Addrs)
			require.Equal(t, test.master, options.MasterName)
			require.Equal(t, test.db, options.DB)
			require.Equal(t, test.secure, options.TLSConfig != nil)
		})
	}
}

func TestParseNamesTheRemedyAndNotThePassword(t *testing.T) {
	t.Parallel()
	for url, remedy := range map[string]string{
		"http://:hunter2@x":                "use redis://",
		"redis://:hunter2@a,b":             "redis-cluster://",
		"redis://:hunter2@x/one":           "write …/0",
		"redis-sentinel://:hunter2@x":      "name of a master",
		"redis-cluster://:hunter2@/3":      "database 0",
		"redis-cluster://:hunter2@a:1,b:x": "wrong port",
		"hunter2":                          "not a URL",
		"redis://:hunter2@":                "no host",
		"redis://:hunter2@x:%zz":           "wrong port",

		"unix://:hunter2@x/run/r.sock":       "path of a socket",
		"unix://run/r.sock?password=hunter2": "path of a socket",
		"unix:///r.sock?password=hunter2":    "only db",
		"unix:///r.sock?db=one":              "?db=0",

		"redis-cluster://:hunter2@a,b?tls=on":                     "?tls=true",
		"redis-sentinel://:hunter2@a/m?tls=yes":                   "?tls=true",
		"redis://:hunter2@a?tls=":                                 "?tls=true",
		"redis://:hunter2@a?TLS=true":                             "unknown parameter",
		"redis-sentinel://a/m?sentinelpassword=hunter2":           "unknown parameter",
		"redis://a?sentinel_password=hunter2":                     "unknown parameter",
		"redis://:hun?ter2@a/0":                                   "unknown parameter",
		"redis://:hunter2@a/0?tls=true&tls=false":                 "given twice",
		"rediss://:hunter2@a/0?tls=0":                             "contradicts itself",
		"redis://:hunter2@a/0/7":                                  "too many parts",
		"redis-sentinel://:hunter2@a/m/0/1":                       "too many parts",
		"redis://:hunter2@a/0#1":                                  "%23",
		"redis://:hunter2@a/0?tls=%zz":                            "cannot be read",
		"redis://:hunter2@a/0?master_name=m&pool_size=3&tls=true": "unknown parameter",
	} {
		_, err := redisconn.Parse(url)
		require.ErrorContains(t, err, remedy, url)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestOpenConnects(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, use := range []redisconn.Use{redisconn.ForIngest, redisconn.ForWorker} {
		client, err := redisconn.Open(server.URL(), use)
		require.NoError(t, err)
		require.NoError(t, client.Ping(context.Background()).Err())
		require.NoError(t, client.Close())
	}
}

func TestOpenSingleClusterNodeGivesClusterClient(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"redis-cluster", "Redis-Cluster"} {
		client, err := redisconn.Open(scheme+"://127.0.0.1:1", redisconn.ForIngest)
		require.NoError(t, err)
		require.IsType(t, &redis.ClusterClient{}, client)
		require.NoError(t, client.Close())
	}
}

func TestOpenReachesASocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "redis.sock")
	server := redistest.Start(t, "--unixsocket", socket)
	require.NoError(t, server.Client().Set(t.Context(), "k", "v", 0).Err())
	client, err := redisconn.Open("unix://"+socket+"?db=0", redisconn.ForWorker)
	require.NoError(t, err)
	defer client.Close()
	value, err := client.Get(t.Context(), "k").Result()
	require.NoError(t, err)
	require.Equal(t, "v", value)
}
