//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var acmeRenewal = flag.Bool("acme.renewal", false, "also wait until a running server renews a certificate, which takes two minutes")

// pebble is the ACME server of Let's Encrypt for tests, and a DNS server.
var pebble = sync.OnceValues(func() (string, error) {
	dir := filepath.Dir(program)
	for _, name := range []string{"pebble", "pebble-challtestsrv"} {
		build := exec.Command("go", "build", "-modfile=tools.mod", "-o", filepath.Join(dir, name), "github.com/letsencrypt/pebble/v2/cmd/"+name)
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

// An authority signs for who answers its challenges at two ports, whatever the
// domain, unless the DNS says otherwise.
type authority struct {
	*process
	directory string        // URL
	trust     string        // file with the certificate of its own server
	dns       string        // where to tell the DNS
	manage    string        // URL
	valid     time.Duration // the time of its certificates
}

// authorityFor is in the place of one that finds the server at ports 443 and 80.
func authorityFor(t *testing.T, tlsPort, plainPort string, valid time.Duration, accounts map[string]string) *authority {
	t.Helper()
	programs, err := pebble()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := &authority{trust: filepath.Join(dir, "trust.pem"), valid: valid}
	cert, key := writeCertificate(t)
	listen, manage, dns, tell := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	a.directory, a.manage, a.dns = "https://"+listen+"/dir", "https://"+manage, "http://"+tell
	number := func(port string) int {
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage,
		"certificate": a.trust, "privateKey": filepath.Join(dir, "key.pem"),
		"tlsPort": number(tlsPort), "httpPort": number(plainPort),
		"externalAccountBindingRequired": accounts != nil, "externalAccountMACKeys": accounts,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "default", "validityPeriod": int(valid.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{a.trust: cert, filepath.Join(dir, "key.pem"): key, filepath.Join(dir, "config.json"): string(config)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := start(t, command(filepath.Join(programs, "pebble-challtestsrv"), "-dnsserver", dns, "-management", tell, "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""))
	until(t, "a DNS server", func() bool { return answers(tell) || names.hasEnded() })
	cmd := command(filepath.Join(programs, "pebble"), "-config", filepath.Join(dir, "config.json"), "-dnsserver", dns)
	cmd.Env = append(cmd.Env, "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	a.process = start(t, cmd)
	until(t, "an authority", func() bool { return answers(listen) && answers(manage) || a.hasEnded() })
	t.Setenv("SSL_CERT_FILE", a.trust)
	return a
}

// writeCertificate gives one for 127.0.0.1, and its key, in PEM.
func writeCertificate(t testing.TB) (cert, key string) {
	t.Helper()
	own := httptest.NewTLSServer(nil) // has one
	defer own.Close()
	der, err := x509.MarshalPKCS8PrivateKey(own.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate().Raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func answers(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// tell tells the DNS.
func (a *authority) tell(t *testing.T, what, body string) {
	t.Helper()
	if response, answer := do(t, "POST", a.dns+what, body); response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", what, response.Status, answer)
	}
}

// roots are those of the certificates that it signs.
func (a *authority) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: patience}
	defer client.CloseIdleConnections()
	pool := x509.NewCertPool()
	response, err := client.Get(a.manage + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text := new(strings.Builder)
	if err := response.Write(text); err != nil || !pool.AppendCertsFromPEM([]byte(text.String())) {
		t.Fatalf("no root: %v, %s", err, text)
	}
	return pool
}

// shown is the certificate that a server shows for a name, if it is good.
func shown(address, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, &tls.Config{RootCAs: roots, ServerName: name})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// awaitShown waits for a good certificate: it is shown a moment after the log has
// told of it.
func awaitShown(t *testing.T, address, name string, roots *x509.CertPool) (cert *x509.Certificate) {
	t.Helper()
	var err error
	if !eventually(func() bool {
		cert, err = shown(address, name, roots)
		return err == nil
	}) {
		t.Fatalf("no certificate for %s: %v", name, err)
	}
	return cert
}

func portOf(t testing.TB, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// serveACME starts a server on a TLS address, and on a plain one for the test.
func serveACME(t *testing.T, address, data string, a *authority, flags ...string) *server {
	t.Helper()
	return serveAt(t, address, data, append([]string{"--listen", "http://127.0.0.1:0", "--tls-acme-directory", a.directory}, flags...)...)
}

// A certificate comes by tls-alpn-01 on the server's own port, is kept, and is
// renewed.
func TestACME(t *testing.T) {
	const valid = 15 * time.Second // until all that follows has seen it; then the test waits for its end
	address, nowhere := freeAddress(t), freeAddress(t)
	a := authorityFor(t, portOf(t, address), portOf(t, nowhere), valid, nil)
	a.signal(t, syscall.SIGSTOP) // it does not answer for a while
	data := t.TempDir()
	s := serveACME(t, address, data, a, "--tls-acme", "events.example.com,second.example.com", "--tls-acme-email", "ops@example.com")
	if response, body := do(t, "GET", s.url+"/readyz", ""); response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "no certificate yet") {
		t.Errorf("readyz: %s %s", response.Status, body)
	}
	if response, _ := do(t, "GET", s.url+"/healthz", ""); response.StatusCode != http.StatusOK {
		t.Errorf("healthz: %s", response.Status)
	}
	if _, err := shown(address, "events.example.com", nil); err == nil {
		t.Error("a handshake without a certificate")
	}
	if banner := s.stderr.String(); !strings.Contains(banner, "https://events.example.com:"+portOf(t, address)) || !strings.Contains(banner, a.directory) {
		t.Errorf("banner: %s", banner)
	}
	a.signal(t, syscall.SIGCONT)
	until(t, "certificates", func() bool { return strings.Count(s.stderr.String(), "new certificate") == 2 })
	until(t, "readyz", func() bool {
		response, _ := do(t, "GET", s.url+"/readyz", "")
		return response.StatusCode == http.StatusOK
	})
	roots := a.roots(t)
	first := awaitShown(t, address, "events.example.com", roots)
	awaitShown(t, address, "second.example.com", roots)
	if _, err := shown(address, "third.example.com", roots); err == nil {
		t.Error("a certificate for a name that was not asked for")
	}
	// The name is good as Host, also on a loopback address.
	trust := filepath.Join(t.TempDir(), "roots.pem")
	writeRoots(t, a, trust)
	curl := tool(t, "curl", "curl")
	if got := run(t, command(curl, "-sS", "--cacert", trust, "--resolve", "events.example.com:"+portOf(t, address)+":127.0.0.1",
		"-w", "%{http_version} %{http_code}", "https://events.example.com:"+portOf(t, address)+"/healthz")); got != "ok\n2 200" {
		t.Errorf("curl: %q", got)
	}
	files, err := filepath.Glob(filepath.Join(data, "acme", "certificates", "*", "events.example.com", "*.key"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range append(files, filepath.Join(data, "acme")) {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is for others, too: %v, %v", name, info.Mode(), err)
		}
	}

	s.stop(t)
	until(t, "the end of the certificate's time", func() bool { return time.Now().After(first.NotAfter) })
	again := serveACME(t, address, data, a, "--tls-acme", "events.example.com")
	var renewed *x509.Certificate
	until(t, "a new certificate", func() bool {
		renewed, err = shown(address, "events.example.com", roots)
		return err == nil && renewed.SerialNumber.Cmp(first.SerialNumber) != 0
	})
	again.stop(t)
}

// While there is time left, a start needs no authority.
func TestACMEIsKept(t *testing.T) {
	address, nowhere := freeAddress(t), freeAddress(t)
	a := authorityFor(t, portOf(t, address), portOf(t, nowhere), 24*time.Hour, nil)
	data := t.TempDir()
	s := serveACME(t, address, data, a, "--tls-acme", "events.example.com")
	until(t, "a certificate", func() bool { return strings.Contains(s.stderr.String(), "new certificate") })
	roots := a.roots(t)
	s.stop(t)
	a.signal(t, syscall.SIGKILL)
	a.exitCode(t)
	serveACME(t, address, data, a, "--tls-acme", "events.example.com")
	awaitShown(t, address, "events.example.com", roots)
}

// A server that runs renews when a third of the time is left.
func TestACMERenewal(t *testing.T) {
	if !*acmeRenewal {
		t.Skip("takes two minutes: -acme.renewal")
	}
	address, nowhere := freeAddress(t), freeAddress(t)
	a := authorityFor(t, portOf(t, address), portOf(t, nowhere), 2*time.Minute, nil)
	s := serveACME(t, address, t.TempDir(), a, "--tls-acme", "events.example.com")
	until(t, "a certificate", func() bool { return strings.Contains(s.stderr.String(), "new certificate") })
	roots := a.roots(t)
	first := awaitShown(t, address, "events.example.com", roots)
	for time.Now().Before(first.NotAfter) {
		time.Sleep(time.Second)
		now, err := shown(address, "events.example.com", roots)
		if err != nil {
			t.Fatalf("%v before its end: %v", time.Until(first.NotAfter), err)
		}
		if now.SerialNumber.Cmp(first.SerialNumber) != 0 {
			t.Logf("renewed %v before its end", time.Until(first.NotAfter))
			return
		}
	}
	t.Error("it was not renewed")
}

// Without a way to port 443, port 80 is enough, where the server serves it.
func TestACMEByHTTP(t *testing.T) {
	address, nowhere := freeAddress(t), freeAddress(t)
	plain := freeAddress(t)
	a := authorityFor(t, portOf(t, nowhere), portOf(t, plain), time.Hour, nil)
	s := serveACME(t, address, t.TempDir(), a, "--tls-acme", "events.example.com", "--listen", "http://0.0.0.0:"+portOf(t, plain))
	until(t, "a certificate", func() bool { return strings.Contains(s.stderr.String(), "new certificate") })
	awaitShown(t, address, "events.example.com", a.roots(t))
}

// Servers that share a directory share the certificate, and answer for each
// other: the authority reaches only one of them. The account is one that the
// authority knows.
func TestACMESeveralServers(t *testing.T) {
	reached, other, nowhere := freeAddress(t), freeAddress(t), freeAddress(t)
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	a := authorityFor(t, portOf(t, reached), portOf(t, nowhere), time.Hour, map[string]string{"kid-1": key})
	t.Setenv("DUPLEX_TLS_ACME_MAC_KEY", key)
	shared := []string{"--tls-acme", "events.example.com", "--tls-acme-dir", filepath.Join(t.TempDir(), "shared"), "--tls-acme-key-id", "kid-1"}
	a.signal(t, syscall.SIGSTOP) // until both are there
	asks := serveACME(t, other, t.TempDir(), a, shared...)
	until(t, "a question", func() bool { return strings.Contains(asks.stderr.String(), "getting a certificate") })
	answers := serveACME(t, reached, t.TempDir(), a, shared...)
	a.signal(t, syscall.SIGCONT)
	roots := a.roots(t)
	var serials []string
	for _, address := range []string{reached, other} {
		serials = append(serials, awaitShown(t, address, "events.example.com", roots).SerialNumber.String())
	}
	if serials[0] != serials[1] {
		t.Errorf("two certificates: %v", serials)
	}
	if asks, answers := asks.stderr.String(), answers.stderr.String(); strings.Count(asks+answers, "new certificate") != 1 {
		t.Errorf("asked for more than once:\n%s\n%s", asks, answers)
	}
}

// What goes wrong is said, with what helps, and the server goes on.
func TestACMETroubles(t *testing.T) {
	address, nowhere := freeAddress(t), freeAddress(t)
	a := authorityFor(t, portOf(t, address), portOf(t, nowhere), time.Hour, nil)
	a.tell(t, "/set-servfail", `{"host":"lost.example.com"}`)
	a.tell(t, "/add-a", `{"host":"elsewhere.example.com","addresses":["127.0.0.99"]}`)
	busy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","status":429,"detail":"too many certificates (5) already issued for this exact set of domains"}`)
	}))
	defer busy.Close() // its certificate is the one of all such servers
	for name, test := range map[string]struct {
		domain, directory string
		hint              string
	}{
		"DNS":            {"lost.example.com", a.directory, "Could not resolve"},
		"another server": {"elsewhere.example.com", a.directory, "does the name lead here?"},
		"rate limit":     {"events.example.com", busy.URL, "gives no more for now"},
		"no authority":   {"events.example.com", "https://" + nowhere + "/dir", "is the authority there?"},
	} {
		own := address
		if test.directory != a.directory {
			own = "127.0.0.1:0"
		}
		s := serveAt(t, own, t.TempDir(), "--listen", "http://127.0.0.1:0", "--tls-acme", test.domain, "--tls-acme-directory", test.directory)
		until(t, name+": words", func() bool { return strings.Contains(s.stderr.String(), "no new certificate") })
		if log := s.stderr.String(); !strings.Contains(log, test.hint) || !strings.Contains(log, "domain="+test.domain) {
			t.Errorf("%s: %s", name, log)
		}
		s.publish(t, "a", "", "text/plain", "it goes on")
		s.stop(t)
	}
	for _, flags := range [][]string{
		{"--tls-acme", "*.example.com"},
		{"--tls-acme", "https://example.com"},
		{"--tls-acme", "example.com", "--tls-dev"},
		{"--tls-acme-email", "a@example.com"},
		{"--tls-acme", "example.com", "--tls-acme-key-id", "1"},
		{"--tls-acme", "example.com", "--tls-acme-dir", "/proc/duplex"},
	} {
		p := start(t, command(program, append([]string{"serve", "--memory"}, flags...)...))
		if code := p.exitCode(t); code != 2 {
			t.Errorf("%v: exit code %d, %s", flags, code, p.stderr.String())
		}
	}
}

// writeRoots writes the roots of an authority to a file.
func writeRoots(t *testing.T, a *authority, path string) {
	t.Helper()
	if out := run(t, command(tool(t, "curl", "curl"), "-sSk", "-o", path, a.manage+"/roots/0")); out != "" {
		t.Fatal(out)
	}
}
