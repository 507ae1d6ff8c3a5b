//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/duplexhq/duplex/internal/testnet"
)

// A proxyKind is a program that operators put in front of Duplex, and the
// configuration for it that they may copy.
type proxyKind struct {
	name, program, debianPackage string
	file                         string // of the configuration, in testdata
	// around is the rest of what the program needs, where the file is only a
	// part. {dir} is a directory, {address} where to listen, {port} its port.
	around string
	args   []string // to be one process, which stays in the foreground

	// What to replace by what, so that it
	listens []string // listens to the test
	secure  []string // does so over TLS and HTTP/2
	hasty   []string // gives up what is silent for 8 s
	deaf    []string // keeps Upgrade to itself
	ownHost []string // asks for its own idea of Host; nil: it never does
	http10  []string // speaks HTTP/1.0 to Duplex; nil: it never does

	streams int // at once, of one HTTP/2 connection, if not many
}

var proxyKinds = []proxyKind{
	{
		name: "nginx", program: "/usr/sbin/nginx", debianPackage: "nginx-light",
		file: "nginx.conf",
		around: `daemon off;
master_process off;
pid {dir}/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	scgi_temp_path {dir}/scgi;
	uwsgi_temp_path {dir}/uwsgi;
	include {dir}/nginx.conf;
}
`,
		args:    []string{"-e", "stderr", "-p", "{dir}", "-c", "{dir}/main.conf"},
		listens: []string{"listen 80;", "listen {address};"},
		secure: []string{
			"listen 80;", "", "# listen 443 ssl http2;", "listen {address} ssl http2;",
			"# ssl_certificate     /etc/ssl/events.pem;", "ssl_certificate {dir}/events.pem;",
			"# ssl_certificate_key /etc/ssl/events.key;", "ssl_certificate_key {dir}/events.key;",
		},
		hasty:   []string{"proxy_read_timeout 60s;", "proxy_read_timeout 8s;"},
		deaf:    []string{"proxy_set_header Upgrade $http_upgrade;", "", "proxy_set_header Connection $duplex_connection;", ""},
		ownHost: []string{"proxy_set_header Host $http_host;", ""},
		http10:  []string{"proxy_http_version 1.1;", ""},
	},
	{
		name: "Apache", program: "/usr/sbin/apache2", debianPackage: "apache2",
		file: "apache.conf",
		around: `ServerRoot {dir}
ServerName localhost
DefaultRuntimeDir {dir}
PidFile {dir}/pid
ErrorLog {dir}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
Listen {address}
Include {dir}/apache.conf
`,
		args:    []string{"-X", "-f", "{dir}/main.conf"},
		listens: []string{"<VirtualHost *:80>", "<VirtualHost {address}>"},
		secure: []string{
			"<VirtualHost *:80>", "<VirtualHost {address}>", "# Protocols h2 http/1.1", "Protocols h2 http/1.1", "# SSLEngine on", "SSLEngine on",
			"# SSLCertificateFile    /etc/ssl/events.pem", "SSLCertificateFile {dir}/events.pem",
			"# SSLCertificateKeyFile /etc/ssl/events.key", "SSLCertificateKeyFile {dir}/events.key",
		},
		hasty:   []string{"timeout=60", "timeout=8", "ProxyPreserveHost On", "ProxyPreserveHost On\n\tTimeout 8"},
		deaf:    []string{" upgrade=websocket", ""},
		ownHost: []string{"ProxyPreserveHost On", ""},
		http10:  []string{"ProxyPreserveHost On", "ProxyPreserveHost On\n\tSetEnv force-proxy-request-1.0 1\n\tSetEnv proxy-nokeepalive 1"},
		streams: 5, // and a request: Apache works on six, until some have ended
	},
	{
		name: "HAProxy", program: "/usr/sbin/haproxy", debianPackage: "haproxy",
		file:    "haproxy.cfg",
		args:    []string{"-db", "-f", "{dir}/haproxy.cfg"},
		listens: []string{"bind :80", "bind {address}"},
		secure:  []string{"bind :80", "", "# bind :443 ssl crt /etc/ssl/events.pem", "bind {address} ssl crt {dir}/events.pem"},
		hasty:   []string{"client 60s", "client 8s", "server 60s", "server 8s", "tunnel 60s", "tunnel 8s"},
		deaf:    []string{"default_backend duplex", "http-request del-header Upgrade\n\tdefault_backend duplex"},
	},
	{
		name: "Caddy", program: "/usr/bin/caddy", debianPackage: "caddy",
		file: "Caddyfile",
		around: `{
	admin off
	auto_https off
}
import {dir}/Caddyfile
`,
		args:    []string{"run", "--adapter", "caddyfile", "--config", "{dir}/main.conf"},
		listens: []string{"events.example.com {", "http://:{port} {\n\tbind 127.0.0.1"},
		secure:  []string{"events.example.com {", "https://{address} {\n\ttls {dir}/events.pem {dir}/events.key"},
		hasty:   []string{"flush_interval -1", "flush_interval -1\n\t\ttransport http {\n\t\t\tread_timeout 8s\n\t\t}"},
		deaf:    []string{"flush_interval -1", "flush_interval -1\n\t\theader_up -Upgrade"},
		ownHost: []string{"flush_interval -1", "flush_interval -1\n\t\theader_up Host {upstream_hostport}"},
	},
}

// eachProxy runs a test for all kinds at the same time.
func eachProxy(t *testing.T, test func(*testing.T, proxyKind)) {
	for _, kind := range proxyKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// A proxy is a running one in front of a server.
type proxy struct {
	*process
	kind      proxyKind
	url, addr string
	dir       string
	client    *http.Client
}

// behind starts a proxy in front of a server, with the operator's file but for
// the addresses and what else is replaced.
func (k proxyKind) behind(t testing.TB, s *server, replace ...string) *proxy {
	t.Helper()
	addr := freeAddress(t)
	return k.start(t, s, &proxy{addr: addr, url: "http://" + addr, client: direct}, slices.Concat(replace, k.listens))
}

// behindTLS is behind with TLS and HTTP/2 at the proxy, as its file says in comments.
func (k proxyKind) behindTLS(t testing.TB, s *server) *proxy {
	t.Helper()
	addr := freeAddress(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return k.start(t, s, &proxy{addr: addr, url: "https://" + addr, client: &http.Client{Transport: transport, Timeout: patience}}, k.secure)
}

func (k proxyKind) start(t testing.TB, s *server, p *proxy, replace []string) *proxy {
	t.Helper()
	tool(t, k.program, k.debianPackage)
	p.kind, p.dir = k, proxyDir(t)
	cert, key := writeCertificate(t)
	file, err := os.ReadFile(filepath.Join("testdata", k.file))
	if err != nil {
		t.Fatal(err)
	}
	config := string(file)
	replace = append(replace, "127.0.0.1:8080", s.addr)
	for i := 0; i < len(replace); i += 2 {
		if strings.Count(config, replace[i]) != 1 {
			t.Fatalf("%s must have %q once", k.file, replace[i])
		}
		config = strings.Replace(config, replace[i], replace[i+1], 1)
	}
	for name, text := range map[string]string{k.file: p.fill(config), "main.conf": p.fill(k.around), "events.pem": cert + key, "events.key": key} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(p.dir, "error.log")); err == nil && t.Failed() {
			t.Logf("%s:\n%s", k.name, tail(string(log), 4<<10))
		}
	})
	p.launch(t)
	return p
}

func (p *proxy) fill(text string) string {
	return strings.NewReplacer("{dir}", p.dir, "{address}", p.addr, "{port}", p.addr[strings.LastIndex(p.addr, ":")+1:]).Replace(text)
}

// launch starts it, also again.
func (p *proxy) launch(t testing.TB) {
	t.Helper()
	var args []string
	for _, arg := range p.kind.args {
		args = append(args, p.fill(arg))
	}
	cmd := command(p.kind.program, args...)
	cmd.Env = append(cmd.Env, "HOME="+p.dir)
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	p.process = start(t, cmd)
	until(t, p.kind.name+" is ready", func() bool {
		if p.hasEnded() {
			t.Fatalf("%s ended: %s", p.kind.name, p.stderr.String())
		}
		response, err := p.client.Get(p.url + "/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// kill ends it without a word to anybody.
func (p *proxy) kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.exitCode(t)
}

// nobody is Debian's user without rights, for tests that root runs.
const nobody = 65534

// proxyDir is a directory that belongs to the proxy's user, unlike t.TempDir.
func proxyDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "duplex-e2e-proxy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freeAddress is for programs that cannot choose a port and tell it, or that
// come back to it.
func freeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", testnet.Ports(t, 1)[0])
}
