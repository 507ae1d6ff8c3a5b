package conformance

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strconv"
	"strings"
)

// agreement is what a handshake agreed on for permessage-deflate (RFC 7692 §7.1).
type agreement struct {
	serverBits, clientBits         int
	serverTakeover, clientTakeover bool
}

// direction gives what the messages of a sender may refer to.
func (a *agreement) direction(sender Role) (bits int, takeover bool) {
	if sender == Server {
		return a.serverBits, a.serverTakeover
	}
	return a.clientBits, a.clientTakeover
}

// parseAgreement reads the server's Sec-WebSocket-Extensions, and gives nil if there is nothing in
// it.
func parseAgreement(field string) (*agreement, error) {
	if field == "" {
		return nil, nil
	}
	name, params, _ := strings.Cut(field, ";")
	if strings.TrimSpace(name) != "permessage-deflate" {
		return nil, fmt.Errorf("an extension that was not offered: %q", field)
	}
	a := &agreement{serverBits: 15, clientBits: 15, serverTakeover: true, clientTakeover: true}
	for param := range strings.SplitSeq(params, ";") {
		if strings.TrimSpace(param) == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		bits, bitsErr := strconv.Atoi(value)
		bitsOK := bitsErr == nil && bits >= 8 && bits <= 15
		switch {
		case name == "server_no_context_takeover" && value == "":
			a.serverTakeover = false
		case name == "client_no_context_takeover" && value == "":
			a.clientTakeover = false
		case name == "server_max_window_bits" && bitsOK:
			a.serverBits = bits
		case name == "client_max_window_bits" && bitsOK:
			a.clientBits = bits
		default:
			return nil, fmt.Errorf("a parameter that RFC 7692 §7.1 does not know: %q", param)
		}
	}
	return a, nil
}

// answer gives the least that a server may answer to a client's offers, or "" if none of them is
// for permessage-deflate: what the client demands is granted.
func answer(offers string) string {
	for offer := range strings.SplitSeq(offers, ",") {
		name, params, _ := strings.Cut(offer, ";")
		if strings.TrimSpace(name) != "permessage-deflate" {
			continue
		}
		granted := []string{"permessage-deflate"}
		for param := range strings.SplitSeq(params, ";") {
			if param = strings.TrimSpace(param); strings.HasPrefix(param, "server_") {
				granted = append(granted, param)
			}
		}
		return strings.Join(granted, "; ")
	}
	return ""
}

// compressor makes compressed messages (RFC 7692 §7.2.1).
type compressor struct {
	bits    int
	out     bytes.Buffer
	context *flate.Writer // of the connection
}

// compress uses the context of the connection, or one for this message alone.
func (c *compressor) compress(message []byte, takeover bool) ([]byte, error) {
	c.out.Reset()
	if takeover {
		if c.context == nil {
			c.context, _ = flate.NewWriter(&c.out, flate.BestCompression) // it is a level
		}
		err := deflateBlock(c.context, message)
		return c.message(), err
	}
	w, _ := flate.NewWriter(&c.out, flate.BestSpeed) // so is this
	piece := len(message)
	if c.bits < 15 {
		// flate knows one window only. What is compressed in pieces of the size of another one
		// refers no further back than that.
		piece = 1 << c.bits
	}
	for {
		w.Reset(&c.out)
		part := message[:min(piece, len(message))]
		message = message[len(part):]
		if err := deflateBlock(w, part); err != nil {
			return nil, err
		}
		if len(message) == 0 {
			return c.message(), nil
		}
	}
}

// message gives what was written, without the end of the last flush.
func (c *compressor) message() []byte {
	return bytes.TrimSuffix(bytes.Clone(c.out.Bytes()), []byte{0x00, 0x00, 0xff, 0xff})
}

func deflateBlock(w *flate.Writer, data []byte) error {
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Flush()
}
