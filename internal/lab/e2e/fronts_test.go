package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
	"spillway/internal/relay"
)

// front is a web server of deploy/, set up both ways before one WordPress and
// one ingest.
type front struct {
	name string
	// site is the site's address, whose webhooks go to Spillway (way 2); redirects
	// is one that does so before it redirects to https.
	site, redirects string
	// secure and plain are where the host of Spillway's own (way 1) listens for
	// https and http.
	secure, plain string
	certificates  *x509.CertPool
	logs          string // folder
}

// client returns one that finds spillway.example.com at this server, trusts its
// certificate, connects from an address of 127.0.0.0/8, and follows redirects.
func (f *front) client(t *testing.T, from string) *http.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.certificates},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch address {
			case "spillway.example.com:443":
				address = f.secure
			case "spillway.example.com:80":
				address = f.plain
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// shipped copies a folder of deploy/ into one of the test, with this test's
// addresses and paths in place of those that an administrator replaces; FOLDER
// in these is the copy's.
func shipped(t *testing.T, folder, ingest string, f *front, more ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	// Its parents keep others out; the servers run as www-data when the test is root.
	for parent := dir; parent != os.TempDir(); parent = filepath.Dir(parent) {
		require.NoError(t, os.Chmod(parent, 0o755))
	}
	certificate, key := f.selfSigned(t, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "spillway-relay.map"), []byte(`"`+relay.Proof(accessKey)+"\" 1;\n"), 0o644))
	replace := strings.NewReplacer(append(more,
		"127.0.0.1:8080", ingest,
		"/etc/letsencrypt/live/spillway.example.com/fullchain.pem", certificate,
		"/etc/letsencrypt/live/spillway.example.com/privkey.pem", key,
	)...)
	files, err := filepath.Glob("../../../deploy/" + folder + "/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(strings.ReplaceAll(replace.Replace(string(text)), "FOLDER", dir)), 0o644))
	}
	return dir
}

func (f *front) selfSigned(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"spillway.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o644))
	}
	parsed, err := x509.ParseCertificate(public)
	require.NoError(t, err)
	f.certificates = x509.NewCertPool()
	f.certificates.AddCert(parsed)
	return certificate, key
}

// nginx prepares the site's nginx, which the site starts with.
func nginx(t *testing.T, ingest string, options *wptest.Options) *front {
	t.Helper()
	f := &front{name: "nginx", secure: freeAddr(t), plain: freeAddr(t), redirects: freeAddr(t)}
	f.logs = t.TempDir()
	require.NoError(t, os.Chmod(f.logs, 0o777))
	files := shipped(t, "nginx", ingest, f,
		"\tlisten [::]:443 ssl;\n", "", "\tlisten [::]:80;\n", "",
		"listen 443 ssl", "listen "+f.secure+" ssl", "listen 80", "listen "+f.plain,
		"snippets/", "FOLDER/", "/etc/nginx/", "FOLDER/", "/var/log/nginx/", f.logs+"/",
	)
	options.NginxHTTP = "include " + files + "/spillway-http.conf;\n" +
		"include " + files + "/spillway-host.conf;\n" +
		"server {\nlisten " + f.redirects + ";\ninclude " + files + "/spillway-takeover.conf;\n" +
		"return 301 https://www.example.com$request_uri;\n}\n"
	// The site itself takes no more than nginx's usual megabyte.
	options.NginxServer = "access_log " + f.logs + "/access.log masked;\nclient_max_body_size 1m;\ninclude " + files + "/spillway-takeover.conf;"
	f.redirects = "http://" + f.redirects
	return f
}

// apache starts a second server on the site.
func apache(t *testing.T, ingest string, site *wptest.Site) *front {
	t.Helper()
	addr, redirects := freeAddr(t), freeAddr(t)
	f := &front{
		name: "Apache", site: "http://" + addr, redirects: "http://" + redirects,
		secure: freeAddr(t), plain: freeAddr(t), logs: site.ApacheDir(addr),
	}
	files := shipped(t, "apache", ingest, f, "*:443", f.secure, "*:80", f.plain, "/etc/apache2/spillway", "FOLDER",
		"SpillwayRelay (?!)", "SpillwayRelay another|"+relay.Proof(accessKey))
	logs := "CustomLog ${APACHE_LOG_DIR}/access.log combined env=spillway_keyless\n" +
		"CustomLog ${APACHE_LOG_DIR}/access.log masked env=!spillway_keyless\n"
	site.StartApache(addr, wptest.Apache{
		Modules: []string{"proxy", "proxy_http", "rewrite", "setenvif", "asis", "ssl", "socache_shmcb"},
		Server: "Listen " + f.secure + "\nListen " + f.plain + "\nListen " + redirects + "\n" +
			"Include " + files + "/spillway.conf\nInclude " + files + "/spillway-host.conf\n" +
			"<VirtualHost " + redirects + ">\n" + logs + "Include " + files + "/spillway-takeover.conf\n" +
			"Redirect permanent / https://www.example.com/\n</VirtualHost>\n",
		Host: logs + "Include " + files + "/spillway-takeover.conf",
	})
	return f
}

// accessFile starts a third server on the site, of which nothing but the site's
// .htaccess may be changed.
func accessFile(t *testing.T, ingest string, site *wptest.Site) *front {
	t.Helper()
	addr := freeAddr(t)
	f := &front{name: "Apache's .htaccess", site: "http://" + addr, logs: site.ApacheDir(addr)}
	text, err := os.ReadFile(filepath.Join(shipped(t, "apache", ingest, f), "htaccess"))
	require.NoError(t, err)
	site.StartApache(addr, wptest.Apache{Modules: []string{"proxy_http", "headers"}, AccessFile: strings.Replace(string(text), "RewriteCond", "RewriteCond \"%{HTTP:X-Spillway-Relay}\" \"!="+relay.Proof(accessKey)+"\"\nRewriteCond", 1)})
	return f
}
