package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServeRefusesTLS(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--tls-cert x":                                       "--tls-cert and --tls-key: one needs the other",
		"--tls-key x":                                        "--tls-cert and --tls-key: one needs the other",
		"--tls-dev --tls-cert x --tls-key x":                 "--tls-dev: there is a certificate",
		"--tls-acme example.com --tls-dev":                   "--tls-acme: there is a certificate",
		"--tls-acme-email a@example.com":                     "needs --tls-acme",
		"--tls-acme example.com --tls-acme-key-id 1":         "one needs the other",
		"--tls-acme *.example.com":                           "wildcard",
		"--tls-acme example.com --tls-acme-dir /proc/duplex": "/proc/duplex",
		"--tls-dev-dir x":                                    "--tls-dev-dir: needs --tls-dev",
		"--http3":                                            "--http3: needs a certificate",
		"--tls-cert none.pem --tls-key none.pem":             "no such file",
		"--tls-cert " + broken + " --tls-key " + broken:      "failed to find any PEM data",
		"--listen https://127.0.0.1:0":                       "there is no certificate",
		"--listen ftp://127.0.0.1:0":                         "want HOST:PORT",
		"--listen 127.0.0.1":                                 "want HOST:PORT",
		"--listen http://127.0.0.1:0 --tls-dev --tls-dev-dir " + t.TempDir(): "not http://",
		"--trust-proxy localhost":       "--trust-proxy: want an address or a network",
		"--allow-host http://a.example": "want a name",
		"--retain-events=-1":            "--retain-events: must not be less than 0",
		"--max-streams 0":               "--max-streams: must be more than 0",
	} {
		if _, notes := duplex(t, exitUsage, "", append([]string{"serve", "--memory"}, strings.Fields(args)...)...); !strings.Contains(notes, want) {
			t.Errorf("%s: %q, want %q", args, notes, want)
		}
	}
}

// The banner says what is served where, and how to trust it.
func TestServeTLSBanner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	p := begin(t, nil, "serve", "--memory", "--tls-dev", "--tls-dev-dir", dir, "--listen", "127.0.0.1:0", "--listen", "http://127.0.0.1:0", "--http3")
	p.err.wait(t, "poll ")
	p.stop()
	p.end(exitDone)
	for _, want := range []string{
		"Duplex listens on https://127.0.0.1:", " (HTTP/1.1, HTTP/2, HTTP/3, log in memory)\n",
		"Duplex listens on http://127.0.0.1:", " (HTTP/1.1, log in memory)\n",
		"To have it trusted:", filepath.Join(dir, "ca.pem"), "curl --cacert ",
	} {
		if !strings.Contains(p.err.String(), want) {
			t.Errorf("%q lacks %q", p.err.String(), want)
		}
	}
}

// Without a certificate there is nothing to trust. The names of the variables
// are those of the flags.
func TestServeH2CBanner(t *testing.T) {
	t.Setenv("DUPLEX_H2C", "true")
	t.Setenv("DUPLEX_HTTP3", "false")
	p := begin(t, nil, "serve", "--memory", "--listen", "127.0.0.1:0")
	p.err.wait(t, "poll ")
	p.stop()
	p.end(exitDone)
	if text := p.err.String(); strings.Contains(text, "trusted") || !strings.Contains(text, " (HTTP/1.1, HTTP/2, log in memory)\n") {
		t.Errorf("%q", text)
	}
}
