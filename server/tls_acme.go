package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// DefaultACMEDirectory is the authority that is asked for certificates unless
// another is named.
const DefaultACMEDirectory = certmagic.LetsEncryptProductionCA

const (
	// renewalCheck is how often certificates are looked at. They are renewed
	// when a third of their time is left, or when their authority says so (RFC
	// 9773); an authority of one's own may give them an hour.
	renewalCheck = time.Minute

	// missingCheck is how often somebody is told that there is still no
	// certificate, or that one will soon be over.
	missingCheck = time.Hour

	// acmeTLS is the protocol of tls-alpn-01 (RFC 8737 §4).
	acmeTLS = "acme-tls/1"
)

// ACME says which certificates to get from an authority, and how (RFC 8555).
type ACME struct {
	// Domains are the names that clients use. Each gets a certificate of its
	// own. The authority must reach this server under them: at port 443, or at
	// port 80 where it serves without TLS.
	Domains []string
	// Dir is for the account's key and for certificates. Servers that share it
	// answer for each other, and renew once.
	Dir string
	// Email is whom the authority tells of trouble. It may be empty.
	Email string
	// Directory is the URL of the authority. If empty, DefaultACMEDirectory.
	Directory string
	// KeyID and MACKey, the latter in base64url, bind the account to one that
	// the authority knows already (RFC 8555 §7.3.4). Both, or neither.
	KeyID, MACKey string
}

// check refuses what no authority could sign.
func (a *ACME) check() error {
	if len(a.Domains) == 0 {
		return errors.New("no domain")
	}
	for _, name := range a.Domains {
		switch {
		case strings.HasPrefix(name, "*"):
			return fmt.Errorf("%q: a certificate for a wildcard needs a change of the DNS, which is not made here", name)
		case !certmagic.SubjectQualifiesForCert(name) || strings.ContainsAny(name, "*:/,"):
			return fmt.Errorf("%q is no domain", name)
		}
	}
	if (a.KeyID == "") != (a.MACKey == "") {
		return errors.New("an account of the authority needs an id and a key")
	}
	return nil
}

// acmeCertificates are got from an authority and renewed in time. While one is
// missing, handshakes that ask for it fail.
type acmeCertificates struct {
	ACME

	// Set by begin.
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

func newACMECertificates(a *ACME) (*acmeCertificates, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	return &acmeCertificates{ACME: *a}, checkWritable(a.Dir)
}

// begin comes before the first handshake, and before watch. The ports are those
// where the authority finds the answers to its challenges: the server's own,
// which may be others behind whatever forwards to them. 0 is none.
func (c *acmeCertificates) begin(tlsPort, plainPort int, logger *slog.Logger) {
	details := zap.New(&slogCore{handler: logger.Handler()})
	c.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return c.magic, nil },
		RenewCheckInterval: renewalCheck,
		Logger:             details,
	})
	c.magic = certmagic.New(c.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: c.Dir},
		DefaultServerName: c.Domains[0], // for clients that name none
		OnEvent: func(_ context.Context, name string, facts map[string]any) error {
			tellACME(logger, name, facts)
			return nil
		},
		Logger: details,
	})
	template := certmagic.ACMEIssuer{
		CA:                      cmp.Or(c.Directory, DefaultACMEDirectory),
		Email:                   c.Email,
		Agreed:                  true, // who configures an authority agrees to its terms
		AltTLSALPNPort:          tlsPort,
		DisableTLSALPNChallenge: tlsPort == 0,
		AltHTTPPort:             plainPort,
		DisableHTTPChallenge:    plainPort == 0,
		Logger:                  details,
	}
	if c.KeyID != "" {
		template.ExternalAccount = &acme.EAB{KeyID: c.KeyID, MACKey: c.MACKey}
	}
	c.issuer = certmagic.NewACMEIssuer(c.magic, template)
	c.magic.Issuers = []certmagic.Issuer{c.issuer}
}

// checkWritable makes the directory, for the owner only, if it is missing.
func checkWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func (c *acmeCertificates) config() *tls.Config {
	config := tlsConfig(func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return c.magic.GetCertificate(hello) })
	challenge := config.Clone()
	challenge.NextProtos = []string{acmeTLS}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, challenge.NextProtos) { // RFC 8737 §3: it "MUST ... contain only this"
			return challenge, nil
		}
		return nil, nil
	}
	return config
}

// answers reports whether the request was a challenge of an authority, http-01
// (RFC 8555 §8.3), which it has answered then.
func (c *acmeCertificates) answers(w http.ResponseWriter, r *http.Request) bool {
	return c.issuer.HandleHTTPChallenge(w, r)
}

// missing are the domains without a certificate.
func (c *acmeCertificates) missing() (domains []string) {
	for _, domain := range c.Domains {
		if len(c.cache.AllMatchingCertificates(domain)) == 0 {
			domains = append(domains, domain)
		}
	}
	return domains
}

// watch gets certificates and renews them, until ctx is done. What goes wrong is
// tried again: after a minute, later more seldom.
func (c *acmeCertificates) watch(ctx context.Context, logger *slog.Logger) {
	// Its goroutines end with ctx. They are not joined: one may be waiting for
	// an answer of the authority, which holds up nothing else.
	if err := c.magic.ManageAsync(ctx, c.Domains); err != nil {
		logger.Error("no certificates", "error", err)
	}
	defer c.cache.Stop()
	ticker := time.NewTicker(missingCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, domain := range c.missing() {
			logger.Error("still no certificate", "domain", domain)
		}
		for _, domain := range c.Domains {
			for _, cert := range c.cache.AllMatchingCertificates(domain) {
				if left := time.Until(cert.Leaf.NotAfter); left < cert.Lifetime()/6 {
					logger.Error("a certificate is soon over, and was not renewed", "domain", domain, "until", cert.Leaf.NotAfter)
				}
			}
		}
	}
}

// tellACME tells of certmagic's events what a person needs to know.
func tellACME(logger *slog.Logger, event string, facts map[string]any) {
	domain, _ := facts["identifier"].(string)
	switch event {
	case "cert_obtaining":
		logger.Info("getting a certificate", "domain", domain)
	case "cert_obtained":
		logger.Info("new certificate", "domain", domain)
	case "cert_failed":
		err, _ := facts["error"].(error)
		logger.Error("no new certificate; it is tried again", "domain", domain, "error", err, "hint", acmeHint(err))
	}
}

// acmeHint says what is often the reason of an error, and what helps.
func acmeHint(err error) string {
	problem, ok := errors.AsType[acme.Problem](err)
	if !ok {
		return "is the authority there? It must be reached from here (DNS, firewall, HTTPS_PROXY, the clock), and its own certificate trusted (SSL_CERT_FILE)"
	}
	switch strings.TrimPrefix(problem.Type, "urn:ietf:params:acme:error:") {
	case "dns":
		return "does the DNS know the name? It must lead to this server, also over IPv6 if there is an AAAA record"
	case "connection", "tls", "unauthorized", "incorrectResponse":
		return "does the name lead here? The authority must reach this server at port 443, or without TLS at port 80"
	case "rateLimited":
		return "the authority gives no more for now; try with its staging directory until all is right"
	case "caa":
		return "a CAA record in the DNS forbids this authority"
	case "rejectedIdentifier":
		return "the authority signs no such name"
	case "externalAccountRequired":
		return "the authority wants an account: --tls-acme-key-id and --tls-acme-mac-key"
	case "invalidContact", "unsupportedContact":
		return "the authority refuses the address of --tls-acme-email"
	}
	return "the authority refuses; its answer says why"
}
