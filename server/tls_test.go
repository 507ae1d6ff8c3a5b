package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// trusting gives a configuration for clients that trust the authority of a
// server.
func trusting(t *testing.T, s *Server) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.config.TLSDevDir, DevCAFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no authority")
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// writeCertificate writes a new certificate of an authority in a directory of
// its own, and gives its serial number.
func writeCertificate(t *testing.T, certFile, keyFile string) string {
	t.Helper()
	pair, err := developmentCertificate(filepath.Join(t.TempDir(), "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writePEM(certFile, "CERTIFICATE", pair.Certificate[0], 0o644), writePEM(keyFile, "PRIVATE KEY", key, 0o600)); err != nil {
		t.Fatal(err)
	}
	return serial(t, pair.Certificate[0])
}

func serial(t *testing.T, der []byte) string {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber.String()
}

func TestCertificateIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		first := writeCertificate(t, certFile, keyFile)
		s, network := startPiped(t, &Config{TLSCert: certFile, TLSKey: keyFile, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		shown := func() string {
			conn := tls.Client(connect(t, network.Dial, DefaultListen).Conn, &tls.Config{InsecureSkipVerify: true})
			defer conn.Close()
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			return serial(t, conn.ConnectionState().PeerCertificates[0].Raw)
		}
		want := func(serial, part string) {
			t.Helper()
			synctest.Wait()
			if got := shown(); got != serial {
				t.Errorf("shows %s, want %s", got, serial)
			}
			if text := log.String(); part == "" && text != "" || strings.Count(text, "\n") > 1 || !strings.Contains(text, part) {
				t.Errorf("logged %q, want %q", text, part)
			}
			log.Reset()
		}
		synctest.Wait()
		log.Reset() // it listens
		want(first, "")
		time.Sleep(3 * certificateCheck)
		want(first, "")

		second := writeCertificate(t, certFile, keyFile)
		want(first, "")
		time.Sleep(certificateCheck)
		want(second, `msg="new certificate" file=`+certFile)

		if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * certificateCheck)
		want(second, "the old one stays") // once
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * certificateCheck)
		want(second, "no such file")
		third := writeCertificate(t, certFile, keyFile)
		time.Sleep(certificateCheck)
		want(third, `msg="new certificate"`)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFaultyTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, broken := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "broken.pem")
	writeCertificate(t, cert, key)
	if err := os.WriteFile(broken, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*Config{
		"a certificate without its key": {TLSCert: cert},
		"a key without its certificate": {TLSKey: key},
		"broken":                        {TLSCert: broken, TLSKey: key},
		"swapped":                       {TLSCert: key, TLSKey: cert},
		"missing":                       {TLSCert: cert, TLSKey: filepath.Join(dir, "none.pem")},
		"two certificates":              {TLSCert: cert, TLSKey: key, TLSDevDir: dir},
		"files and ACME":                {TLSCert: cert, TLSKey: key, ACME: &ACME{Domains: []string{"example.com"}, Dir: dir}},
		"ACME for nobody":               {ACME: &ACME{Dir: dir}},
		"ACME for a wildcard":           {ACME: &ACME{Domains: []string{"*.example.com"}, Dir: dir}},
		"ACME for a URL":                {ACME: &ACME{Domains: []string{"https://example.com"}, Dir: dir}},
		"ACME without a directory":      {ACME: &ACME{Domains: []string{"example.com"}}},
		"ACME with half an account":     {ACME: &ACME{Domains: []string{"example.com"}, Dir: dir, KeyID: "1"}},
		"a directory of something else": {TLSDevDir: dir},
		"https without a certificate":   {Listen: []string{"https://127.0.0.1:0"}},
		"another scheme":                {Listen: []string{"ftp://127.0.0.1:0"}},
		"a path":                        {Listen: []string{"http://127.0.0.1:0/"}},
		"no port":                       {Listen: []string{"127.0.0.1"}},
	} {
		if s, err := New(t.Context(), config); err == nil {
			t.Errorf("%s: accepted", name)
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// An authority is made once, also by several at the same time, and is for this
// machine only.
func TestDevelopmentAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "ca")
	var making sync.WaitGroup
	pairs := make([]*tls.Certificate, 4)
	for i := range pairs {
		making.Go(func() {
			var err error
			if pairs[i], err = developmentCertificate(dir, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	making.Wait()
	if t.Failed() {
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, DevCAFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	for _, pair := range pairs {
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, good := range map[string]bool{"localhost": true, "a.localhost": true, "127.0.0.1": true, "::1": true, "example.com": false, "192.168.0.1": false} {
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != good {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, devKeyFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}

	// Its key makes nobody else.
	loaded, err := loadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	foreign := *authority
	foreign.MaxPathLen, foreign.MaxPathLenZero = 0, false
	foreign.IsCA, foreign.PermittedDNSDomains, foreign.PermittedIPRanges, foreign.DNSNames = false, nil, nil, []string{"example.com"}
	der, err := x509.CreateCertificate(nil, &foreign, loaded.Leaf, authority.PublicKey, loaded.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "example.com"}); err == nil {
		t.Error("it speaks for example.com")
	}

	if _, err := developmentCertificate(dir, time.Now().Add(authorityTime)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("an authority at its end: %v", err)
	}
}

// connected is the peer at the other end of a connection.
func connected(t *testing.T, conn net.Conn) *peer {
	t.Cleanup(func() { conn.Close() })
	return newPeer(t, conn)
}
