package config

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strings"
)

// Files are the files that a running ingest server reads again when they change.
// A value given in the environment itself has no file: a process's environment
// does not change after its start.
type Files struct {
	AccessKeys string // SPILLWAY_ACCESS_KEYS_FILE
	TLSCert    string // SPILLWAY_TLS_CERT_FILE
	TLSKey     string // SPILLWAY_TLS_KEY_FILE
}

// ReadAccessKeys reads the access keys again, with the checks of the start.
// The error is an [*Invalid].
func (f Files) ReadAccessKeys() ([]string, error) {
	s := newSettings(Flags{}, []string{"SPILLWAY_ACCESS_KEYS_FILE=" + f.AccessKeys})
	keys := s.accessKeys(true)
	if len(s.problems) > 0 {
		return nil, &Invalid{Problems: s.problems}
	}
	return keys, nil
}

// ReadCertificate reads the certificate again, with the checks of the start.
// The error is an [*Invalid].
func (f Files) ReadCertificate() (*tls.Certificate, error) {
	s := newSettings(Flags{}, []string{"SPILLWAY_TLS_CERT_FILE=" + f.TLSCert, "SPILLWAY_TLS_KEY_FILE=" + f.TLSKey})
	certificate := s.certificate()
	if len(s.problems) > 0 {
		return nil, &Invalid{Problems: s.problems}
	}
	return certificate, nil
}

// files returns which of the settings stand in files.
func (s *settings) files() Files {
	of := func(name string) string {
		if s.environ[name] != "" {
			return ""
		}
		return s.environ[name+"_FILE"]
	}
	return Files{AccessKeys: of("SPILLWAY_ACCESS_KEYS"), TLSCert: of("SPILLWAY_TLS_CERT"), TLSKey: of("SPILLWAY_TLS_KEY")}
}

// certificate reads the certificate that the ingest server shows. Nil: it
// speaks plain HTTP.
func (s *settings) certificate() *tls.Certificate {
	const certName, keyName = "SPILLWAY_TLS_CERT", "SPILLWAY_TLS_KEY"
	if !s.given(certName) && !s.given(keyName) {
		return nil
	}
	before := len(s.problems)
	s.require(true, certName, "it belongs to SPILLWAY_TLS_KEY; set it, or SPILLWAY_TLS_CERT_FILE, to the certificate chain in PEM")
	s.require(true, keyName, "it belongs to SPILLWAY_TLS_CERT; set it, or SPILLWAY_TLS_KEY_FILE, to the private key in PEM")
	cert, key := s.read(certName), s.read(keyName)
	if len(s.problems) > before {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		s.problem(certName, ": not a certificate chain in PEM whose first certificate belongs to SPILLWAY_TLS_KEY, check both")
		return nil
	}
	return &pair
}

// roots reads the certificates of a private authority, which Redis, the CRM and
// the site may use beside the system's authorities. Nil: the system's alone.
func (s *settings) roots() *x509.CertPool {
	const name = "SPILLWAY_CA"
	pem := s.read(name)
	if pem == "" {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without any
	}
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		s.problem(name, ": holds no certificate in PEM, set it, or SPILLWAY_CA_FILE, to your authority's")
		return nil
	}
	return pool
}

// trustedProxies reads the addresses whose X-Forwarded-For header is believed.
func (s *settings) trustedProxies() []netip.Prefix {
	const name = "SPILLWAY_TRUSTED_PROXIES"
	var list []netip.Prefix
	for _, element := range splitList(s.text(name)) {
		prefix, err := parsePrefix(element)
		switch {
		case err != nil:
			s.wrong(name, element, "write addresses or ranges such as 10.0.0.5 or 10.0.0.0/8, separated by commas")
		case prefix.Bits() == 0:
			s.wrong(name, element, "trusts everybody, who could then pretend to be anyone; name the proxies' own addresses")
		default:
			list = append(list, prefix)
		}
	}
	return list
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		const mapped = 96 // bits before an IPv4 address that is written as an IPv6 one
		if prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
		}
		return prefix.Masked(), err
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return addr.Prefix(addr.BitLen())
}
