package wire

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"
)

// Version is the only one there is (RFC 6455 §4.1).
const Version = "13"

const keyBytes = 16

// NewKey makes a Sec-WebSocket-Key of random bytes (§4.1).
func NewKey(random [keyBytes]byte) string {
	return base64.StdEncoding.EncodeToString(random[:])
}

// ValidKey reports whether key "when base64-decoded, is 16 bytes in length" (§4.2.1).
func ValidKey(key string) bool {
	if len(key) != base64.StdEncoding.EncodedLen(keyBytes) {
		return false // DecodeString would skip line ends
	}
	decoded, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(decoded) == keyBytes
}

// AcceptKey gives the Sec-WebSocket-Accept that answers key (§4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Tokens gives the elements of a header field that is a list of tokens, over all of its lines.
// Empty elements are left out (RFC 9110 §5.6.1.2); ok is false if an element is not a token.
func Tokens(lines []string) (tokens []string, ok bool) {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			element = strings.Trim(element, " \t")
			if element == "" {
				continue
			}
			if !isToken(element) {
				return nil, false
			}
			tokens = append(tokens, element)
		}
	}
	return tokens, true
}

// HasToken reports whether the list in lines has token, in whatever case. Elements that are not
// tokens, such as the "websocket/13" of an Upgrade field, just do not match.
func HasToken(lines []string, token string) bool {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// ChooseSubprotocol gives the first of supported that is offered, or "" (§4.2.2). Subprotocols
// are compared as they are, case and all.
func ChooseSubprotocol(offered, supported []string) string {
	for _, name := range supported {
		if slices.Contains(offered, name) {
			return name
		}
	}
	return ""
}

// isToken follows RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
