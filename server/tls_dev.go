package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Files of the local authority.
const (
	// DevCAFile is what browsers and other programs are told to trust.
	DevCAFile = "ca.pem"

	devKeyFile = "ca-key.pem"
)

const (
	authorityTime   = 10 * 365 * 24 * time.Hour
	certificateTime = 365 * 24 * time.Hour

	// clockSkew is how far the clocks of two machines may be apart.
	clockSkew = time.Hour
)

// This machine, in certificates. Whoever gets hold of the authority's key can
// be nobody else with it.
var (
	localName   = "localhost"
	localAddrs  = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	localRanges = []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
)

// developmentCertificate gives a new certificate for this machine, of the local
// authority in the directory, which is made if there is none.
func developmentCertificate(dir string, now time.Time) (*tls.Certificate, error) {
	authority, err := loadAuthority(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeAuthority(dir, now); err == nil {
			authority, err = loadAuthority(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	if left := authority.Leaf.NotAfter.Sub(now); left < certificateTime {
		return nil, fmt.Errorf("the authority in %s ends on %s: remove the directory, and a new one is made", dir, authority.Leaf.NotAfter.Format(time.DateOnly))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"Duplex development"}, CommonName: localName},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    now.Add(certificateTime - clockSkew),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{localName, "*." + localName},
		IPAddresses: localAddrs,
	}, authority.Leaf, key.Public(), authority.PrivateKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func loadAuthority(dir string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, DevCAFile), filepath.Join(dir, devKeyFile))
	return &pair, err
}

// makeAuthority writes a new authority. If another process has just done so,
// that one stays.
func makeAuthority(dir string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		name = "this machine"
	}
	template := &x509.Certificate{
		Subject:                     pkix.Name{Organization: []string{"Duplex development"}, CommonName: "Duplex development on " + name},
		NotBefore:                   now.Add(-clockSkew),
		NotAfter:                    now.Add(authorityTime),
		KeyUsage:                    x509.KeyUsageCertSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{localName},
		PermittedIPRanges:           localRanges,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	// Both files come to be at once, by the directory's name.
	unnamed, err := os.MkdirTemp(parent, filepath.Base(dir)+".new-") // for the owner only
	if err != nil {
		return err
	}
	defer os.RemoveAll(unnamed)
	err = errors.Join(
		writePEM(filepath.Join(unnamed, DevCAFile), "CERTIFICATE", cert, 0o644),
		writePEM(filepath.Join(unnamed, devKeyFile), "PRIVATE KEY", private, 0o600),
	)
	if err != nil {
		return err
	}
	_ = os.Remove(dir) // one that was made for it, and is empty; no other is removed
	if err := os.Rename(unnamed, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
