package wire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// However the input is split, the same comes out, no limit is passed, and nothing
// panics.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("\x81\x05Hello"), uint64(1), true, false)
	f.Add([]byte("\x01\x03Hel\x89\x01p\x80\x02lo\x88\x02\x03\xe8"), uint64(2), true, false)
	f.Add(masked(Text, true, "Grüße"), uint64(3), false, false)
	f.Add(append(masked(Binary, false, strings.Repeat("x", 200)), masked(Continuation, true, "y")...), uint64(4), false, false)
	f.Add([]byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), uint64(5), true, true)
	f.Add([]byte("\xc1\x01\xff\x8a\x7e\x00"), uint64(6), true, true)
	f.Add([]byte("\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00"), uint64(7), true, true)
	f.Add(compressedFrame(Text, true, deflated(f, 6, nil, []byte(strings.Repeat("Grüße ", 60)))), uint64(8), true, true)
	f.Fuzz(func(t *testing.T, input []byte, seed uint64, client, extension bool) {
		const limit = 300
		config := Config{Role: Server, MaxMessageBytes: limit}
		if client {
			config.Role = Client
		}
		if extension {
			config.RSV = RSV2
			inflater := new(Inflater)
			config.Inflation = &Inflation{WindowBits: 8, Takeover: true, Lend: func() *Inflater { return inflater }, Return: func(*Inflater) {}}
		}
		random := rand.New(rand.NewPCG(seed, 0))
		want := collect(config, input, whole)
		for _, size := range []func() int{single, func() int { return random.IntN(9) }} {
			got := collect(config, input, size)
			if !slices.Equal(got.events, want.events) || got.fault != want.fault {
				t.Fatalf("split: %q, %v; whole: %q, %v", got.events, got.fault, want.events, want.fault)
			}
			// What is not ended may be further when a fault comes in smaller pieces.
			if !bytes.HasPrefix(got.partial, want.partial) {
				t.Fatalf("split: %q; whole: %q", got.partial, want.partial)
			}
			if len(got.partial) > limit {
				t.Fatalf("%d bytes of a message", len(got.partial))
			}
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d"))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, input []byte) {
		h, n, err := ParseHeader(input)
		if err != nil || n == 0 {
			return
		}
		if h.Length < 0 {
			t.Fatalf("length %d", h.Length)
		}
		if again := AppendHeader(nil, h); !bytes.Equal(again, input[:n]) {
			t.Fatalf("%x is read as %+v, which is written as %x", input[:n], h, again)
		}
	})
}

func FuzzParseClose(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x03"))
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03\xed"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > MaxControlPayload {
			return
		}
		code, reason, err := ParseClose(payload)
		if err != nil {
			return
		}
		if !utf8.ValidString(reason) {
			t.Fatalf("reason %q", reason)
		}
		if again, err := AppendClose(nil, code, reason); err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%x is read as %d %q, which is written as %x, %v", payload, code, reason, again, err)
		}
	})
}

func FuzzTokens(f *testing.F) {
	f.Add("chat, superchat", "keep-alive, Upgrade")
	f.Add(",", "constructor;a=\"b\"")
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		tokens, ok := Tokens(lines)
		if !ok && tokens != nil {
			t.Fatal("tokens of a list that is none")
		}
		for _, token := range tokens {
			if !isToken(token) || !HasToken(lines, token) {
				t.Fatalf("%q of %q", token, lines)
			}
		}
		ValidKey(first)
	})
}
