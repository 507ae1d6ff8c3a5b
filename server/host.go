package server

import (
	"net"
	"net/netip"
	"strings"
)

// A hostRule says which hosts may be asked for on listeners with a loopback
// address (PROTOCOL.md §10.3). A page of another site may have pointed its own
// name there, and would then count as the server's own (DNS rebinding).
type hostRule struct {
	allowed map[string]bool // by hostname
}

func newHostRule(hosts []string) hostRule {
	rule := hostRule{allowed: make(map[string]bool)}
	for _, host := range hosts {
		rule.allowed[hostname(host)] = true
	}
	return rule
}

// admits judges the Host of a request.
func (r hostRule) admits(host string, http10 bool) bool {
	if host == "" {
		return http10 // later versions always have one (RFC 9112 §3.2)
	}
	name := hostname(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761 §6.3
		return true
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	return r.allowed[name]
}

// hostname is the host without port, brackets and the dot of the DNS root, in
// lower case.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isLoopback reports whether only this machine can reach a listener.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
