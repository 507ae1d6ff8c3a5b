package wire

import (
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// A Head is what a request begins with.
type Head struct {
	Method, Scheme, Authority, Path string
	Protocol                        string              // of an extended CONNECT, else empty
	Fields                          []hpack.HeaderField // the others, valid during the call
	Length                          int64               // of the body, as it was announced; -1 if it was not
	Ends                            bool                // there is no body
	TooLarge                        bool                // the fields are more than MaxHeaderBytes: some are missing
}

// parseHead judges the fields of a request (RFC 9113 §8.2, §8.3). If it is
// malformed, the reason is not empty.
func parseHead(fields []hpack.HeaderField, connect bool) (h Head, malformed string) {
	n := 0
	for n < len(fields) && fields[n].IsPseudo() {
		n++
	}
	h.Length = -1
	var seen struct{ scheme, path bool }
	for _, f := range fields[:n] {
		var to *string
		switch f.Name {
		case ":method":
			to = &h.Method
		case ":scheme":
			to, seen.scheme = &h.Scheme, true
		case ":authority":
			to = &h.Authority
		case ":path":
			to, seen.path = &h.Path, true
		case ":protocol":
			to = &h.Protocol
		default:
			return h, "unknown pseudo-header field"
		}
		switch {
		case *to != "":
			return h, "pseudo-header field twice"
		case f.Value == "":
			return h, "empty pseudo-header field"
		case !validValue(f.Value):
			return h, "bad value of a pseudo-header field"
		}
		*to = f.Value
	}
	h.Fields = fields[n:]
	host := ""
	for _, f := range h.Fields {
		if reason := checkField(f); reason != "" {
			return h, reason
		}
		switch f.Name {
		case "host":
			if host != "" && host != f.Value {
				return h, "two hosts"
			}
			host = f.Value
		case "content-length":
			length, err := strconv.ParseUint(f.Value, 10, 63)
			if err != nil || f.Value[0] == '+' || h.Length >= 0 && h.Length != int64(length) {
				return h, "bad content-length"
			}
			h.Length = int64(length)
		}
	}
	switch {
	case !validToken(h.Method):
		return h, "no method"
	case h.Protocol != "" && (!connect || h.Method != "CONNECT"):
		return h, ":protocol without CONNECT, or not offered"
	case h.Method == "CONNECT" && h.Protocol == "":
		if seen.scheme || seen.path || h.Authority == "" {
			return h, "CONNECT is with an authority only" // §8.5
		}
	case h.Scheme != "http" && h.Scheme != "https":
		return h, "bad scheme"
	case !strings.HasPrefix(h.Path, "/") && (h.Path != "*" || h.Method != "OPTIONS"):
		return h, "bad path"
	}
	if h.Authority == "" {
		h.Authority = host
	}
	// "A server SHOULD treat a request as malformed if it contains a Host header
	// field that identifies an entity that differs from [:authority]" (§8.3.1).
	if host != "" && !strings.EqualFold(host, h.Authority) {
		return h, "host is not :authority"
	}
	if !httpguts.ValidHostHeader(h.Authority) || strings.Contains(h.Authority, "@") {
		return h, "bad authority"
	}
	return h, ""
}

// checkTrailer judges the fields that follow a body (RFC 9113 §8.1).
func checkTrailer(fields []hpack.HeaderField) (malformed string) {
	for _, f := range fields {
		if f.IsPseudo() {
			return "pseudo-header field in a trailer"
		}
		if reason := checkField(f); reason != "" {
			return reason
		}
	}
	return ""
}

func checkField(f hpack.HeaderField) (malformed string) {
	if f.IsPseudo() {
		return "pseudo-header field after others"
	}
	if !validToken(f.Name) || !validValue(f.Value) {
		return "bad field"
	}
	for i := range len(f.Name) {
		if c := f.Name[i]; 'A' <= c && c <= 'Z' {
			return "upper case in the name of a field"
		}
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return "connection-specific field" // §8.2.2
	case "te":
		if f.Value != "trailers" {
			return "te is not trailers"
		}
	}
	return ""
}

func validToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// validValue is that of RFC 9113 §8.2.1: no NUL, CR, LF, and no space at an end.
func validValue(s string) bool {
	if s == "" {
		return true
	}
	blank := func(c byte) bool { return c == ' ' || c == '\t' }
	return !blank(s[0]) && !blank(s[len(s)-1]) && httpguts.ValidHeaderFieldValue(s)
}
