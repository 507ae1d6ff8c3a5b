package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// certificateCheck is how soon a new certificate is noticed.
const certificateCheck = 5 * time.Second

// certificates are what a server shows over TLS.
type certificates interface {
	// config is for net/http, which adds HTTP/2.
	config() *tls.Config
	// watch keeps them up to date until ctx is done.
	watch(ctx context.Context, logger *slog.Logger)
	// missing are the domains that have none yet.
	missing() []string
}

// newCertificates gives the certificates that a configuration asks for, or nil.
func newCertificates(config *Config) (certificates, error) {
	ways := 0
	for _, wanted := range []bool{config.TLSDevDir != "", config.TLSCert != "" || config.TLSKey != "", config.ACME != nil} {
		if wanted {
			ways++
		}
	}
	switch {
	case ways == 0:
		return nil, nil
	case ways > 1:
		return nil, errors.New("TLS: certificates come from files, from an authority by ACME, or from a local one")
	case config.ACME != nil:
		c, err := newACMECertificates(config.ACME)
		if err != nil {
			return nil, fmt.Errorf("certificates by ACME: %w", err)
		}
		return c, nil
	}
	return newCertificate(config)
}

// tlsConfig is what all certificates have in common.
func tlsConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: get,
	}
}

// A certificate is for all names. That of two files is read again when they
// change; those who are connected keep what they have seen.
type certificate struct {
	certFile, keyFile string // empty: it does not change
	shown             atomic.Pointer[tls.Certificate]

	// What was read last, be it good or not, so that each change is told once.
	cert, key []byte
	readErr   string
}

// newCertificate gives that of files or of a local authority.
func newCertificate(config *Config) (*certificate, error) {
	switch {
	case config.TLSDevDir != "":
		shown, err := developmentCertificate(config.TLSDevDir, time.Now())
		if err != nil {
			return nil, fmt.Errorf("local certificate: %w", err)
		}
		c := new(certificate)
		c.shown.Store(shown)
		return c, nil
	case config.TLSCert == "" || config.TLSKey == "":
		return nil, errors.New("TLS: a certificate needs its key, and a key its certificate")
	}
	c := &certificate{certFile: config.TLSCert, keyFile: config.TLSKey}
	if _, err := c.reload(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func (c *certificate) config() *tls.Config {
	return tlsConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.shown.Load(), nil })
}

func (c *certificate) missing() []string { return nil }

// reload shows what the files hold, unless that is no certificate. It reports
// whether they have changed since the last time.
func (c *certificate) reload() (changed bool, err error) {
	cert, certErr := os.ReadFile(c.certFile)
	key, keyErr := os.ReadFile(c.keyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		changed = c.readErr != err.Error()
		c.readErr, c.cert, c.key = err.Error(), nil, nil
		return changed, err
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return false, nil
	}
	c.readErr, c.cert, c.key = "", cert, key
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true, fmt.Errorf("%s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.shown.Store(&pair)
	return true, nil
}

// watch looks at the files until ctx is done. Reading them is surer than asking
// when they were changed: a link may lead elsewhere, and clocks are coarse.
func (c *certificate) watch(ctx context.Context, logger *slog.Logger) {
	if c.certFile == "" {
		return
	}
	ticker := time.NewTicker(certificateCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		changed, err := c.reload()
		switch {
		case !changed:
		case err != nil:
			logger.Error("new certificate refused, the old one stays", "error", err)
		default:
			leaf := c.shown.Load().Leaf
			logger.Info("new certificate", "file", c.certFile, "names", leaf.DNSNames, "until", leaf.NotAfter)
		}
	}
}
