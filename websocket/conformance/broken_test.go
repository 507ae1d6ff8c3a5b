package conformance_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/conformance"
)

// A server that checks nothing passes what it can do, and fails what it does wrong.
func TestBrokenServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { // ends with conn, which the judge closes
				defer conn.Close()
				in := bufio.NewReader(conn)
				if request, err := http.ReadRequest(in); err == nil {
					answerAnything(conn, request)
					echoAnything(conn, in, nil)
				}
			})
		}
	})
	expectVerdicts(t, func(ctx context.Context, opts *conformance.Options) ([]conformance.Result, error) {
		return conformance.RunServer(ctx, "ws://"+l.Addr().String(), opts)
	}, map[string]conformance.Verdict{
		"framing/text/125":                                conformance.Pass,
		"framing/binary/65536":                            conformance.Pass,
		"control/ping/5":                                  "", // there is no such case
		"control/ping/125":                                conformance.Pass,
		"masking/key/ones":                                conformance.Pass,
		"close/server-ends-tcp":                           conformance.Pass,
		"utf8/valid/emoji":                                conformance.Pass,
		"deflate/rfc-example":                             conformance.Pass,
		"framing/not-minimal/2-bytes-for-124":             conformance.Fail,
		"control/ping-too-long/126":                       conformance.Fail,
		"control/fragmented/pong":                         conformance.Fail,
		"reserved/bit/text-2":                             conformance.Fail,
		"reserved/opcode/3":                               conformance.Fail,
		"reserved/opcode/11":                              conformance.Fail,
		"fragmentation/continuation-of-nothing/final":     conformance.Fail,
		"fragmentation/message-inside/binary-in-text":     conformance.Fail,
		"utf8/invalid/surrogate-D800":                     conformance.Fail,
		"utf8/invalid-across-fragments/overlong":          conformance.Fail,
		"utf8/seen-in-a-frame/ff":                         conformance.Fail,
		"masking/not-masked/text":                         conformance.Fail,
		"close/payload-of-one-byte/03":                    conformance.Fail,
		"close/code-not-to-be-sent/1006":                  conformance.Fail,
		"close/reason-not-utf8/ff":                        conformance.Fail,
		"limits/one-byte-more/one-frame":                  conformance.Fail,
		"handshake-server/missing/Sec-WebSocket-Key":      conformance.Fail,
		"handshake-server/version/8":                      conformance.Fail,
		"handshake-server/refused/key-not-base64":         conformance.Fail,
		"handshake-server/subprotocol-not-spoken/one":     conformance.Fail,
		"handshake-server/extensions-malformed/two-words": conformance.Fail,
		"deflate-handshake/offer-invalid/server-bits-16":  conformance.Fail,
		"deflate-handshake/server-bits/9":                 conformance.Fail,
		"deflate/bit-on-a-control-frame/ping":             conformance.Fail,
		"deflate/not-deflate/block-type-3":                conformance.Fail,
		"deflate/cut-short/in-a-fixed-block":              conformance.Fail,
		"handshake-server/subprotocol/one":                conformance.Skip,
		"limits/message-never-finished/in-a-frame":        conformance.Skip,
		"handshake-server/never-finished/60":              conformance.Skip,
		"handshake-server/origin-other/other-host":        conformance.Skip,
	})
}

// A client that checks nothing does so, too.
func TestBrokenClient(t *testing.T) {
	t.Parallel()
	visit := func(address, path string, key []byte) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, address, base64.StdEncoding.EncodeToString(key))
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		echoAnything(conn, in, []byte("same"))
	}
	expectVerdicts(t, func(ctx context.Context, opts *conformance.Options) ([]conformance.Result, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		selected := 0
		for _, c := range conformance.Cases(conformance.Client) {
			if opts.Run.MatchString(c.ID) {
				selected++
			}
		}
		var client sync.WaitGroup
		defer client.Wait()
		client.Go(func() { // ends with its connections
			for n := range selected {
				key := make([]byte, 16)
				key[15] = byte(n)
				if n == selected-1 {
					key[15]-- // the one before
				}
				visit(l.Addr().String(), fmt.Sprintf("/runCase?case=%d", n+1), key)
			}
			visit(l.Addr().String(), "/updateReports", []byte("another key here"))
		})
		return conformance.RunClient(ctx, l, opts)
	}, map[string]conformance.Verdict{
		"framing/text/126":                             conformance.Pass,
		"control/ping/125":                             conformance.Pass,
		"masking/fresh-keys":                           conformance.Fail,
		"masking/masked/text":                          conformance.Fail,
		"reserved/opcode/3":                            conformance.Fail,
		"handshake-client/missing/Upgrade":             conformance.Fail,
		"handshake-client/refused/accept-of-the-rfc":   conformance.Fail,
		"handshake-client/extension-not-offered/lines": conformance.Fail,
		"deflate/rfc-example":                          conformance.Skip,
		"utf8/valid/emoji":                             conformance.Fail, // the last: its key is repeated
	})
}

// expectVerdicts runs the cases that are named, and no others.
func expectVerdicts(t *testing.T, run func(context.Context, *conformance.Options) ([]conformance.Result, error), want map[string]conformance.Verdict) {
	t.Helper()
	var names []string
	missing := 0
	for name, verdict := range want {
		names = append(names, regexp.QuoteMeta(name))
		if verdict == "" {
			missing++
		}
	}
	for timeout := time.Second; ; timeout *= 4 {
		results, err := run(t.Context(), &conformance.Options{
			Run:     regexp.MustCompile("^(" + strings.Join(names, "|") + ")$"),
			Timeout: timeout,
			Limit:   256 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != len(want)-missing {
			t.Fatalf("%d results, want %d", len(results), len(want)-missing)
		}
		var wrong []string
		for _, r := range results {
			if r.Verdict != want[r.Case] {
				wrong = append(wrong, fmt.Sprintf("%s: %s %s, want %s", r.Case, r.Verdict, r.Detail(), want[r.Case]))
			}
		}
		if len(wrong) == 0 {
			return
		}
		if timeout > 10*time.Second { // else the machine may be too slow for what should pass
			t.Fatal(strings.Join(wrong, "\n"))
		}
	}
}

// answerAnything agrees to whatever is asked for.
func answerAnything(w io.Writer, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		io.WriteString(w, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	}
	if protocol := r.Header.Get("Sec-WebSocket-Protocol"); protocol != "" {
		io.WriteString(w, "Sec-WebSocket-Protocol: "+protocol+"\r\n")
	}
	io.WriteString(w, "\r\n")
}

// echoAnything sends every frame back as it came, masked by key if there is one.
func echoAnything(w io.Writer, r io.Reader, key []byte) {
	head := make([]byte, 14)
	for {
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return
		}
		length, size := uint64(head[1]&0x7F), 2
		switch length {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		if _, err := io.ReadFull(r, head[2:size]); err != nil {
			return
		}
		switch length {
		case 126:
			length = uint64(binary.BigEndian.Uint16(head[2:]))
		case 127:
			length = binary.BigEndian.Uint64(head[2:])
		}
		mask := make([]byte, 4)
		if head[1]&0x80 != 0 {
			if _, err := io.ReadFull(r, mask); err != nil {
				return
			}
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		for i := range payload {
			payload[i] ^= mask[i%4]
			if key != nil {
				payload[i] ^= key[i%4]
			}
		}
		opcode := head[0] & 0x0F
		if opcode == 0x9 {
			head[0]++ // a pong
		}
		head[1] &^= 0x80
		if key != nil {
			head[1] |= 0x80
		}
		frame := append(append(append([]byte(nil), head[:size]...), key...), payload...)
		if opcode == 0xA {
			continue
		}
		if _, err := w.Write(frame); err != nil || opcode == 0x8 {
			return
		}
	}
}
