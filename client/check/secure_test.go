package check

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/server"
	"github.com/duplexhq/duplex/view/viewtest"
)

// Over TLS: HTTP/2 without WebSocket over it, HTTP/3 that is announced and
// blocked, versions that are not there, and a certificate that is not trusted.
func TestOverTLS(t *testing.T) {
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	announced := fmt.Sprintf(`h3=":%d"`, deaf.LocalAddr().(*net.UDPAddr).Port)
	closed := fmt.Sprintf(`h3=":%d"`, testnet.Ports(t, 1)[0])
	stranger, err := server.New(t.Context(), &server.Config{Listen: []string{"127.0.0.1:0"}, TLSDevDir: t.TempDir() + "/ca", HTTP3: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Shutdown(t.Context())
	another := fmt.Sprintf(`h3=":%d"`, stranger.Addrs()[0].(*net.TCPAddr).Port)
	for name, test := range map[string]struct {
		protos    []string
		announced string
		untrusted bool
		want      map[string]Cause // "TRANSPORT VERSION"; "" works
	}{
		"only HTTP/2": {protos: []string{"h2"}, want: map[string]Cause{
			"websocket HTTP/1.1": Cut, "sse HTTP/1.1": Cut, // net/http's way; others refuse by ALPN
			"websocket HTTP/2": NotOffered, "sse HTTP/2": "", "publish HTTP/2": "", "longpoll HTTP/2": "",
		}},
		"only HTTP/1.1": {protos: []string{"http/1.1"}, want: map[string]Cause{
			"websocket HTTP/1.1": "", "sse HTTP/1.1": "", "sse HTTP/2": NotOffered, "sse HTTP/3": NotOffered,
		}},
		"HTTP/3 blocked": {protos: []string{"h2", "http/1.1"}, announced: announced, want: map[string]Cause{
			"websocket HTTP/1.1": "", "sse HTTP/2": "", "websocket HTTP/3": UDPBlocked, "sse HTTP/3": UDPBlocked, "publish HTTP/3": UDPBlocked, "webtransport HTTP/3": UDPBlocked,
		}},
		"HTTP/3 refused": {protos: []string{"http/1.1"}, announced: closed, want: map[string]Cause{
			"sse HTTP/1.1": "", "sse HTTP/3": UDPBlocked, "webtransport HTTP/3": UDPBlocked,
		}},
		"another certificate over HTTP/3": {protos: []string{"http/1.1"}, announced: another, want: map[string]Cause{
			"sse HTTP/1.1": "", "sse HTTP/3": Untrusted, "websocket HTTP/3": Untrusted, "webtransport HTTP/3": Untrusted,
		}},
		"not trusted": {protos: []string{"h2", "http/1.1"}, untrusted: true, want: map[string]Cause{
			"websocket HTTP/1.1": Untrusted, "sse HTTP/1.1": Untrusted, "sse HTTP/2": Untrusted,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			topics := viewtest.New(t, nil, nil)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.announced != "" {
					w.Header().Set("Alt-Svc", test.announced)
				}
				topics.ServeHTTP(w, r)
			}))
			server.TLS = &tls.Config{NextProtos: test.protos}
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetHTTP1(slices.Contains(test.protos, "http/1.1"))
			server.Config.Protocols.SetHTTP2(slices.Contains(test.protos, "h2"))
			server.StartTLS()
			defer func() {
				topics.Close()
				server.Close()
			}()
			config := &tls.Config{RootCAs: x509.NewCertPool()}
			if !test.untrusted {
				config.RootCAs.AddCert(server.Certificate())
			}
			check := func(timeout time.Duration) (wrong []string) {
				report, err := Run(t.Context(), server.URL, &Options{TLS: config, Timeout: timeout})
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range report.Results {
					if test.announced == closed && r.Cause == UDPBlocked && !strings.Contains(r.Why, "refused") {
						wrong = append(wrong, r.Why)
					}
					if want, known := test.want[string(r.Transport)+" "+r.Version]; known && r.Cause != want {
						wrong = append(wrong, fmt.Sprintf("%s %s: %q (%s), want %q", r.Transport, r.Version, r.Cause, r.Why, want))
					}
				}
				return wrong
			}
			timeout := 2 * time.Second
			wrong := check(timeout)
			for len(wrong) > 0 && timeout < 30*time.Second { // the machine may be too slow
				timeout *= 4
				wrong = check(timeout)
			}
			if len(wrong) > 0 {
				t.Error(strings.Join(wrong, "\n"))
			}
		})
	}
}
