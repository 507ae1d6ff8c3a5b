package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/duplexhq/duplex/server"
)

const defaultNATSStream = "duplex"

func (c *serveCommand) checkNATS() error {
	if c.NATS == "" {
		for name, given := range map[string]bool{
			"credentials": c.NATSCredentials != "",
			"ca":          c.NATSCA != "",
			"cert":        c.NATSCert != "",
			"key":         c.NATSKey != "",
			"stream":      c.NATSStream != defaultNATSStream,
			"replicas":    c.NATSReplicas != 1,
		} {
			if given {
				return fmt.Errorf("--nats-%s is for a log on NATS: --nats says where that is", name)
			}
		}
		return nil
	}
	switch {
	case c.Memory || c.Durability == "fsync":
		return errors.New("--nats: the servers of NATS keep the log; --memory and --durability are for a log here")
	case c.NATSReplicas != 1 && c.NATSReplicas != 3 && c.NATSReplicas != 5:
		return fmt.Errorf("--nats-replicas: %d, want 1, 3 or 5", c.NATSReplicas)
	case (c.NATSCert == "") != (c.NATSKey == ""):
		return errors.New("--nats-cert and --nats-key belong together")
	}
	return nil
}

// nats says where a shared log is; nil if it is not shared.
func (c *serveCommand) nats() (*server.NATS, error) {
	if c.NATS == "" {
		return nil, nil
	}
	n := &server.NATS{URL: c.NATS, Credentials: c.NATSCredentials, Stream: c.NATSStream, Replicas: c.NATSReplicas}
	if c.NATSCA == "" && c.NATSCert == "" {
		return n, nil
	}
	n.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.NATSCA != "" {
		text, err := os.ReadFile(c.NATSCA)
		if err != nil {
			return nil, fmt.Errorf("--nats-ca: %w", err)
		}
		n.TLS.RootCAs = x509.NewCertPool()
		if !n.TLS.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--nats-ca: %s has no certificate in PEM", c.NATSCA)
		}
	}
	if c.NATSCert != "" {
		load := func() (*tls.Certificate, error) {
			certificate, err := tls.LoadX509KeyPair(c.NATSCert, c.NATSKey)
			return &certificate, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("--nats-cert: %w", err)
		}
		n.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return n, nil
}
