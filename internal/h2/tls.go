package h2

import (
	"crypto/tls"
	"slices"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// suites are those of TLS 1.2 that HTTP/2 may be used with (RFC 9113 §9.2.2) and
// Go has.
var suites = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
}

// checkTLS judges what lies below a connection: nil is plain TCP.
func checkTLS(state *tls.ConnectionState) *wire.Fault {
	if state == nil || state.Version >= tls.VersionTLS13 || state.Version == tls.VersionTLS12 && slices.Contains(suites, state.CipherSuite) {
		return nil
	}
	return &wire.Fault{Code: wire.InadequateSecurity, Reason: "TLS 1.3, or 1.2 with a good cipher suite"}
}
