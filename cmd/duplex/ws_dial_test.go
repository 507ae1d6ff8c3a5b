package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
)

func TestWSRedirect(t *testing.T) {
	address := serveWS(t, tell)
	from := httptest.NewServer(http.RedirectHandler("http://"+address+"/there", http.StatusFound))
	t.Cleanup(from.Close)
	if _, notes := duplex(t, exitRefused, "", "ws", from.URL); !strings.Contains(notes, "(302 Found)") {
		t.Errorf("notes %q", notes)
	}
	out, _ := duplex(t, exitDone, "", "ws", from.URL, "--location", "-H", "A: 1")
	if !strings.HasPrefix(out, `/there : a=["1"] `) {
		t.Errorf("printed %q", out)
	}
}

// The proxies stand before a server whose name only they know.
func TestWSProxies(t *testing.T) {
	address := serveWS(t, tell)
	const target = "ws://server.example:80/path"
	web := func(conn net.Conn) {
		r := bufio.NewReader(conn)
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if request.Method != http.MethodConnect || request.Host != "server.example:80" ||
			request.Header.Get("Proxy-Authorization") != "Basic bWU6c2VjcmV0" {
			io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		testnet.Tunnel(conn, r, address)
	}
	// RFC 1928 and RFC 1929, for one user.
	socks := func(conn net.Conn) {
		for _, turn := range []struct{ want, answer string }{
			{"\x05\x02\x00\x02", "\x05\x02"},
			{"\x01\x02me\x06secret", "\x01\x00"},
			{"\x05\x01\x00\x03\x0eserver.example\x00\x50", "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"},
		} {
			got := make([]byte, len(turn.want))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != turn.want {
				io.WriteString(conn, "\x05\xff")
				return
			}
			io.WriteString(conn, turn.answer)
		}
		testnet.Tunnel(conn, conn, address)
	}
	webAddress, socksAddress := testnet.Serve(t, web), testnet.Serve(t, socks)
	for _, proxy := range []string{"http://me:secret@" + webAddress, "socks5://me:secret@" + socksAddress} {
		out, notes := duplex(t, exitDone, "", "ws", target, "--proxy", proxy)
		if !strings.HasPrefix(out, "/path ") {
			t.Errorf("%s: %q, %q", proxy, out, notes)
		}
	}
	for _, proxy := range []string{"http://me:sacred@" + webAddress, "http://" + webAddress, "socks5://me:sacred@" + socksAddress} {
		_, notes := duplex(t, exitFailed, "", "ws", target, "--proxy", proxy)
		if !strings.Contains(notes, "proxy "+strings.SplitN(proxy, ":", 2)[0]) || strings.Contains(notes, "sacred") {
			t.Errorf("%s: %q", proxy, notes)
		}
	}
	duplex(t, exitUnreached, "", "ws", target, "--proxy", "http://127.0.0.1:1")
}

// The environment is asked by default: that is [websocket.DialOptions] with no
// Proxy. It is read once for a process, so its effect cannot be tested here.
func TestWSNoProxy(t *testing.T) {
	var flags dialFlags
	if proxy, err := flags.proxy(); proxy != nil || err != nil {
		t.Errorf("got %p, %v", proxy, err)
	}
	flags.NoProxy = true
	proxy, err := flags.proxy()
	if err != nil {
		t.Fatal(err)
	}
	if u, err := proxy(httptest.NewRequest("GET", "http://server.example", nil)); u != nil || err != nil {
		t.Errorf("got %v, %v", u, err)
	}
}

// A testCA signs certificates.
type testCA struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	ca := &testCA{t: t, cert: &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test CA"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}}
	var der []byte
	ca.key, der = ca.sign(ca.cert, nil)
	var err error
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.file = ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

// sign makes a key and its certificate; the key of the signer may be nil for a
// certificate that signs itself.
func (ca *testCA) sign(template *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	return key, der
}

func (ca *testCA) write(name, kind string, der []byte) (file string) {
	ca.t.Helper()
	file = filepath.Join(ca.t.TempDir(), name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return file
}

// issue makes a certificate for a name, and its files.
func (ca *testCA) issue(name string) (certFile, keyFile string) {
	ca.t.Helper()
	key, der := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return ca.write("cert.pem", "CERTIFICATE", der), ca.write("key.pem", "PRIVATE KEY", keyDER)
}

func TestWSTLS(t *testing.T) {
	ca := newTestCA(t)
	s := newWSServer(t, tell)
	pair, err := tls.LoadX509KeyPair(ca.issue("server.example"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			r.RequestURI = "/" + r.TLS.PeerCertificates[0].Subject.CommonName
		}
		s.ServeHTTP(w, r)
	})
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients hang up on certificates
	s.StartTLS()
	t.Cleanup(s.Close)
	target := "wss://" + s.Listener.Addr().String() + "/nobody"

	cert, key := ca.issue("alice")
	both := filepath.Join(t.TempDir(), "both.pem")
	var text []byte
	for _, file := range []string{cert, key} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	if err := os.WriteFile(both, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		code      int
		out, note string
		args      []string
	}{
		{exitDone, "/nobody ", "connected", []string{"--ca", ca.file, "--servername", "server.example"}},
		{exitDone, "/alice ", "connected", []string{"--ca", ca.file, "--servername", "server.example", "--cert", cert, "--key", key}},
		{exitDone, "/alice ", "connected", []string{"--ca", ca.file, "--servername", "server.example", "--cert", both}},
		{exitDone, "/nobody ", "--insecure: any certificate is trusted", []string{"--insecure"}},
		{exitUnreached, "", "signed by unknown authority", []string{"--servername", "server.example"}},
		{exitUnreached, "", "certificate is valid for server.example, not other.example", []string{"--ca", ca.file, "--servername", "other.example"}},
		{exitUnreached, "", "127.0.0.1", []string{"--ca", ca.file}},
	} {
		out, notes := duplex(t, test.code, "", append([]string{"ws", target}, test.args...)...)
		if !strings.HasPrefix(out, test.out) || (out == "") != (test.out == "") || !strings.Contains(notes, test.note) {
			t.Errorf("%q: %q, %q", test.args, out, notes)
		}
	}
}

func TestWSTimeout(t *testing.T) {
	silent := testnet.Serve(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	if _, notes := duplex(t, exitUnreached, "", "ws", silent, "--timeout", "1ms"); !strings.Contains(notes, "no connection in 1ms") {
		t.Errorf("notes %q", notes)
	}
}

// A refusal shows what the server says.
func TestWSRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Why", "no\tticket")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, "no ticket\x1b[2J")
	}))
	t.Cleanup(s.Close)
	_, notes := duplex(t, exitRefused, "", "ws", s.URL, "--reconnect", "-v")
	for _, want := range []string{"duplex: HTTP/1.1 401 Unauthorized\n", "duplex: X-Why: no\tticket\n", "is not 101: no ticket\\x1b[2J\n"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
}
