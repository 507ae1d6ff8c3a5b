package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/duplexhq/duplex/server"
)

// defaultDevDir is where the local authority of a user is.
func defaultDevDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "." // there is no home
	}
	return filepath.Join(dir, "duplex", "ca")
}

// devDir is empty unless the local authority is asked for.
func (c *serveCommand) devDir() string {
	switch {
	case !c.TLSDev:
		return ""
	case c.TLSDevDir == "":
		return defaultDevDir()
	}
	return c.TLSDevDir
}

// addresses are those of a network, or a single one.
type addresses netip.Prefix

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *addresses) UnmarshalText(text []byte) error {
	prefix, err := netip.ParsePrefix(string(text))
	if single, noPrefix := netip.ParseAddr(string(text)); noPrefix == nil {
		prefix, err = single.Prefix(single.BitLen())
	}
	if err != nil {
		return fmt.Errorf("want an address or a network, as 10.0.0.1 or 10.0.0.0/8, not %q", text)
	}
	*a = addresses(prefix)
	return nil
}

func (c *serveCommand) trustProxy() []netip.Prefix {
	var prefixes []netip.Prefix
	for _, a := range c.TrustProxy {
		prefixes = append(prefixes, netip.Prefix(a))
	}
	return prefixes
}

// acme is nil unless certificates are to be got.
func (c *serveCommand) acme() *server.ACME {
	if len(c.TLSACME) == 0 {
		return nil
	}
	return &server.ACME{
		Domains:   c.TLSACME,
		Dir:       cmp.Or(c.TLSACMEDir, filepath.Join(c.Data, "acme")),
		Email:     c.TLSACMEEmail,
		Directory: c.TLSACMEDirectory,
		KeyID:     c.TLSACMEKeyID,
		MACKey:    c.TLSACMEMACKey,
	}
}

// checkTLS refuses what contradicts itself.
func (c *serveCommand) checkTLS() error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key: one needs the other")
	case c.TLSDev && c.TLSCert != "":
		return errors.New("--tls-dev: there is a certificate by --tls-cert")
	case c.TLSDevDir != "" && !c.TLSDev:
		return errors.New("--tls-dev-dir: needs --tls-dev")
	case len(c.TLSACME) > 0 && (c.TLSDev || c.TLSCert != ""):
		return errors.New("--tls-acme: there is a certificate by --tls-dev or --tls-cert")
	case len(c.TLSACME) == 0 && (c.TLSACMEEmail != "" || c.TLSACMEDirectory != "" || c.TLSACMEDir != "" || c.TLSACMEKeyID != "" || c.TLSACMEMACKey != ""):
		return errors.New("--tls-acme-...: needs --tls-acme with the domains")
	case (c.TLSACMEKeyID == "") != (c.TLSACMEMACKey == ""):
		return errors.New("--tls-acme-key-id and --tls-acme-mac-key: one needs the other")
	case c.HTTP3 && c.TLSCert == "" && !c.TLSDev && len(c.TLSACME) == 0:
		return errors.New("--http3: needs a certificate, by --tls-cert and --tls-key, --tls-acme or --tls-dev")
	}
	return nil
}

// inheritedListeners are the sockets that a service manager has opened for this
// process, and not for its parent: sd_listen_fds(3).
func inheritedListeners() (listeners []net.Listener, err error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	const first = 3 // after those of every process
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS=%q: want a number of sockets", os.Getenv("LISTEN_FDS"))
	}
	for fd := first; fd < first+n; fd++ {
		file := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		l, err := net.FileListener(file) // a copy
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s of the service manager: want one of a stream that listens: %w", file.Name(), err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// listenError says what to do about an address that cannot be had.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program listens there: choose another address with --listen", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 need a permission: choose another with --listen", err)
	}
	return err
}

// banner tells where the server is, what it speaks there, and what to try.
func (c *serveCommand) banner(endpoints []server.Endpoint) string {
	var b strings.Builder
	for _, e := range endpoints {
		fmt.Fprintf(&b, "Duplex listens on %s (%s, log in %s)\n", c.baseURL(e), strings.Join(e.Versions, ", "), c.place())
	}
	base := c.baseURL(endpoints[0])
	duplex, curl, flag := "duplex", "curl", ""
	if base != "http://"+server.DefaultListen {
		flag = " --server " + base
	}
	if c.TLSDev && endpoints[0].Secure {
		authority := filepath.Join(c.devDir(), server.DevCAFile)
		duplex, curl = "SSL_CERT_FILE="+authority+" duplex", "curl --cacert "+authority
		fmt.Fprintf(&b, "\nIts certificate is of an authority on this machine, for this machine only. To have it trusted:\n\n%s", trustCommands(authority))
	}
	if a := c.acme(); a != nil {
		fmt.Fprintf(&b, "\nIts certificates are in %s, and come from %s, to whose terms you agree.\n", a.Dir, cmp.Or(a.Directory, server.DefaultACMEDirectory))
	}
	fmt.Fprintf(&b, `
  try        %[1]s/  in a browser
  watch      %[1]s/topics/demo  in another tab
  subscribe  %[3]s -N -H 'Accept: text/event-stream' %[1]s/topics/demo
             %[4]s sub demo%[2]s
  publish    %[3]s -d 'hello' %[1]s/topics/demo
             %[4]s pub demo hello%[2]s
  poll       %[3]s '%[1]s/topics/demo?after=earliest'

`, base, flag, curl, duplex)
	return b.String()
}

// trustCommands tell a person how to trust an authority.
func trustCommands(authority string) string {
	switch runtime.GOOS {
	case "darwin":
		return fmt.Sprintf("  security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db '%s'\n", authority)
	case "windows":
		return fmt.Sprintf("  certutil -user -addstore Root \"%s\"\n", authority)
	}
	return fmt.Sprintf(`  programs   sudo cp '%[1]s' /usr/local/share/ca-certificates/duplex-dev.crt && sudo update-ca-certificates
  Chromium   certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n duplex-dev -i '%[1]s'
  Firefox    Settings, Certificates, Authorities, Import
`, authority)
}

// baseURL is where somebody reaches an endpoint: on this machine, or by the name
// of its certificate.
func (c *serveCommand) baseURL(e server.Endpoint) string {
	scheme := "http://"
	if e.Secure {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(e.Addr.String())
	if err != nil {
		return scheme + e.Addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if e.Secure && len(c.TLSACME) > 0 {
		if host = c.TLSACME[0]; port == "443" {
			return scheme + host
		}
	}
	return scheme + net.JoinHostPort(host, port)
}
