package websocket

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestNegotiation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		offer, answer string
		k             *Compression
	}{
		{"", "", &Compression{}},
		{"permessage-deflate", "", nil},
		{"x, permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", &Compression{}},
		{"permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10", &Compression{ServerTakeover: true, ClientTakeover: true, ServerWindowBits: 9, ClientWindowBits: 10}},
		{"permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8", &Compression{ServerWindowBits: 3, ClientWindowBits: 99}},
		{"permessage-deflate; server_max_window_bits=07", "", &Compression{}},
	} {
		url := serve(t, &AcceptOptions{Options: Options{Compression: test.k}}, echo)
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(url, "ws"), nil)
		for field, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			request.Header.Set(field, value)
		}
		if test.offer != "" {
			request.Header.Set(extensionsField, test.offer)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get(extensionsField); response.StatusCode != 101 || got != test.answer {
			t.Errorf("%q: got %d %q, want %q", test.offer, response.StatusCode, got, test.answer)
		}
	}
}

// RFC 6455 §9.1: what is not a list of extensions fails the handshake.
func TestMalformedExtensions(t *testing.T) {
	t.Parallel()
	_, refusal := CheckHandshake(parseRequest(t, opening("+Sec-WebSocket-Extensions: a; b=\"c d\"")), nil)
	if refusal == nil || refusal.Status != http.StatusBadRequest || refusal.Field != extensionsField {
		t.Errorf("got %v", refusal)
	}
}

func TestDialRefusesExtensions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		k      *Compression
		answer string
		good   bool
	}{
		{&Compression{}, "permessage-deflate; server_no_context_takeover", true},
		{&Compression{}, "", true},
		{&Compression{ServerTakeover: true}, "permessage-deflate", true},
		{nil, "permessage-deflate", false},
		{nil, "a b", false},
		{&Compression{}, "permessage-deflate", false}, // the server would refer to earlier messages
		{&Compression{ServerTakeover: true, ServerWindowBits: 10}, "permessage-deflate", false},
		{&Compression{ServerTakeover: true}, "permessage-deflate, permessage-deflate", false},
		{&Compression{ServerTakeover: true}, "permessage-deflate; server_max_window_bits=16", false},
		{&Compression{ServerTakeover: true}, "x-other", false},
	} {
		opts := &DialOptions{Options: Options{Compression: test.k}, Proxy: noProxy, NetDial: answering(func(r *http.Request) string {
			answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
				wire.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
			if test.answer != "" {
				answer += "Sec-WebSocket-Extensions: " + test.answer + "\r\n"
			}
			return answer + "\r\n"
		})}
		c, _, err := Dial(t.Context(), "ws://server.example.com/", opts)
		if c != nil {
			c.CloseNow()
		}
		refusal, _ := errors.AsType[*HandshakeError](err)
		if test.good != (err == nil) || !test.good && (refusal == nil || refusal.Field != extensionsField) {
			t.Errorf("%+v, %q: %v", test.k, test.answer, err)
		}
	}
}

// Connections beyond the budget agree on no takeover, and what ends gives back.
func TestContextBudget(t *testing.T) { // not parallel: the budget is that of the process
	const window = 1 << 15
	k := &Compression{ServerTakeover: true, ClientTakeover: true, MaxContextBytes: contexts.used.Load() + 4*2*window}
	before := contexts.used.Load()
	var accepted []*Conn
	var mu sync.Mutex
	url := serve(t, &AcceptOptions{Options: Options{Compression: k}}, func(c *Conn) {
		mu.Lock()
		accepted = append(accepted, c)
		mu.Unlock()
		echo(c)
	})
	var dialled []*Conn
	for i := range 4 { // both ends are in this process
		c, response, err := Dial(t.Context(), url, &DialOptions{Options: Options{Compression: k}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		dialled = append(dialled, c)
		answer := response.Header.Get(extensionsField)
		if within := i < 2; within == strings.Contains(answer, "no_context_takeover") {
			t.Errorf("connection %d: %q", i, answer)
		}
		wantEcho(t, c)
	}
	if used := contexts.used.Load() - before; used != 4*2*window {
		t.Errorf("%d bytes reserved", used)
	}
	for _, c := range dialled {
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
		c.CloseNow()
	}
	mu.Lock()
	defer mu.Unlock()
	for _, c := range accepted {
		<-c.Done()
	}
	if used := contexts.used.Load(); used != before {
		t.Errorf("%d bytes kept", used-before)
	}
	// A dial that fails keeps nothing either.
	failing := &DialOptions{Options: Options{Compression: k}, Proxy: noProxy, NetDial: answering(func(*http.Request) string { return "HTTP/1.1 400 Bad Request\r\n\r\n" })}
	if _, _, err := Dial(t.Context(), "ws://server.example.com/", failing); err == nil {
		t.Error("dialled")
	}
	if used := contexts.used.Load(); used != before {
		t.Errorf("%d bytes kept by what failed", used-before)
	}
}

func TestBudgetLimits(t *testing.T) {
	t.Parallel()
	var b contextBudget
	switch {
	case !b.reserve(100, 100), b.reserve(1, 100), !b.reserve(0, 100), !b.reserve(1, 101), !b.reserve(1<<40, -1), b.reserve(1, 0):
		t.Errorf("%d used", b.used.Load())
	}
	b.used.Store(defaultContextBytes - 1)
	if !b.reserve(1, 0) || b.reserve(1, 0) {
		t.Error("the default is not the limit")
	}
}
