package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// CloseCode says why a connection is closed (RFC 6455 §7.4).
type CloseCode uint16

const (
	CloseNormal           CloseCode = 1000
	CloseGoingAway        CloseCode = 1001
	CloseProtocolError    CloseCode = 1002
	CloseUnsupportedData  CloseCode = 1003
	CloseNoStatus         CloseCode = 1005 // the close frame had no code; never on the wire
	CloseAbnormal         CloseCode = 1006 // there was no close frame; never on the wire
	CloseInvalidPayload   CloseCode = 1007
	ClosePolicyViolation  CloseCode = 1008
	CloseTooBig           CloseCode = 1009
	CloseMissingExtension CloseCode = 1010 // sent by clients only
	CloseInternalError    CloseCode = 1011
	CloseServiceRestart   CloseCode = 1012
	CloseTryAgainLater    CloseCode = 1013
	CloseBadGateway       CloseCode = 1014
	CloseTLSHandshake     CloseCode = 1015 // TLS failed; never on the wire
)

// MaxReason is the longest reason in bytes: what a control frame has room for beside the code.
const MaxReason = MaxControlPayload - 2

// OnWire reports whether a close frame may hold c (§7.4.1, §7.4.2). 1012 to 1014 were registered
// with IANA after the RFC; 1016 to 2999 wait for a meaning.
func (c CloseCode) OnWire() bool {
	switch c {
	case 1004, CloseNoStatus, CloseAbnormal, CloseTLSHandshake:
		return false
	}
	return 1000 <= c && c <= 1014 || 3000 <= c && c <= 4999
}

var errReason = errors.New("websocket: close reason longer than 123 bytes or not UTF-8")

// AppendClose appends the payload of a close frame to dst. [CloseNoStatus] with no reason makes
// an empty payload. Whatever may not be sent is an error.
func AppendClose(dst []byte, code CloseCode, reason string) ([]byte, error) {
	if code == CloseNoStatus && reason == "" {
		return dst, nil
	}
	if !code.OnWire() {
		return dst, fmt.Errorf("websocket: close code %d may not be sent", code)
	}
	if len(reason) > MaxReason || !utf8.ValidString(reason) {
		return dst, errReason
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...), nil
}

// ParseClose reads the payload of a close frame. An empty one has the code [CloseNoStatus]
// (§7.1.5). The error is a [*Fault].
func ParseClose(payload []byte) (CloseCode, string, error) {
	switch len(payload) {
	case 0:
		return CloseNoStatus, "", nil
	case 1:
		return 0, "", faultClosePayload
	}
	code := CloseCode(binary.BigEndian.Uint16(payload))
	if !code.OnWire() {
		return 0, "", faultCloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", faultCloseReason // §5.5.1: the reason is "UTF-8-encoded data"
	}
	return code, string(payload[2:]), nil
}
