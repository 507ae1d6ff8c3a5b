package wire

import (
	"strings"
	"testing"
)

// RFC 6455 §1.3, and a pair of another introduction to the protocol.
func TestAcceptKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"dGhlIHNhbXBsZSBub25jZQ==": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
		"x3JJHMbDL1EzLkh9GBhXDw==": "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
	} {
		if got := AcceptKey(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
		if !ValidKey(key) {
			t.Errorf("%s is not valid", key)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	// §4.1: with these sixteen bytes the key must be this.
	key := NewKey([16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	if key != "AQIDBAUGBwgJCgsMDQ4PEA==" || !ValidKey(key) {
		t.Errorf("got %q", key)
	}
	for _, key := range []string{
		"", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZSE=",
		"dGhlIHNhbXBsZSBub25jZSEh", "dGhlIHNhbXBsZSBub2!jZQ==", "dGhlIHNhbXBsZSBub2\njZQ==", "dGhlIHNhbXBsZSBub25jZQ==\r\n",
	} {
		if ValidKey(key) {
			t.Errorf("%q is taken for a key", key)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		want  string
		ok    bool
	}{
		{nil, "", true},
		{[]string{"chat, superchat"}, "chat superchat", true},
		{[]string{"chat", " superchat\t,a"}, "chat superchat a", true},
		{[]string{",, ,chat,"}, "chat", true},
		{[]string{"duplex.v1"}, "duplex.v1", true},
		{[]string{"a b"}, "", false},
		{[]string{"a", "b;c"}, "", false},
		{[]string{`"a"`}, "", false},
		{[]string{"ü"}, "", false},
		{[]string{"a\x00"}, "", false},
	} {
		got, ok := Tokens(test.lines)
		if strings.Join(got, " ") != test.want || ok != test.ok {
			t.Errorf("%q: got %q, %v", test.lines, got, ok)
		}
	}
}

func TestHasToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		token string
		want  bool
	}{
		{[]string{"keep-alive, Upgrade"}, "upgrade", true},
		{[]string{"keep-alive", "UPGRADE"}, "Upgrade", true},
		{[]string{"WebSocket"}, "websocket", true},
		{[]string{"upgraded"}, "upgrade", false},
		{[]string{"up grade"}, "upgrade", false},
		{[]string{"websocket/13"}, "websocket", false},
		{nil, "upgrade", false},
	} {
		if got := HasToken(test.lines, test.token); got != test.want {
			t.Errorf("%q has %q: %v", test.lines, test.token, got)
		}
	}
}

func TestChooseSubprotocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ offered, supported, want string }{
		{"chat superchat", "chat", "chat"},
		{"chat superchat", "superchat chat", "superchat"}, // the server's order
		{"chat", "Chat", ""},
		{"chat", "", ""},
		{"", "chat", ""},
	} {
		if got := ChooseSubprotocol(strings.Fields(test.offered), strings.Fields(test.supported)); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}
