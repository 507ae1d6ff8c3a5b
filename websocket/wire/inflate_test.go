package wire

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// lender lends one inflater after the other, and knows how many are out.
type lender struct{ out, lent int }

func (l *lender) inflation(windowBits int, takeover bool) *Inflation {
	return &Inflation{
		WindowBits: windowBits,
		Takeover:   takeover,
		Lend:       func() *Inflater { l.out++; l.lent++; return new(Inflater) },
		Return:     func(*Inflater) { l.out-- },
	}
}

// deflated gives the payload of a compressed message (RFC 7692 §7.2.1), by the standard library.
func deflated(t testing.TB, level int, history, message []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, level, history)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(message)
	w.Flush()
	payload, found := bytes.CutSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
	if !found {
		t.Fatalf("%x has no tail", b.Bytes())
	}
	return payload
}

// compressedFrame is a frame of a server with RSV1.
func compressedFrame(opcode Opcode, fin bool, payload []byte) []byte {
	b := AppendHeader(nil, Header{Fin: fin, RSV: RSV1, Opcode: opcode, Length: int64(len(payload))})
	return append(b, payload...)
}

// RFC 7692 §7.2.3, the examples.
func TestExamplesOfRFC7692(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		input []byte
		want  int // times Hello
	}{
		{"7.2.3.1, one frame", frames(t, "c1 07 f2 48 cd c9 c9 07 00"), 1},
		{"7.2.3.1, fragmented", frames(t, "41 03 f2 48 cd 80 04 c9 c9 07 00"), 1},
		{"7.2.3.2, the same twice", frames(t, "c1 07 f2 48 cd c9 c9 07 00 c1 07 f2 48 cd c9 c9 07 00"), 2},
		{"7.2.3.2, sharing the window", frames(t, "c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00"), 2},
		{"7.2.3.3, a block with no compression", frames(t, "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"), 1},
		{"7.2.3.4, a block with BFINAL set to 1", frames(t, "c1 08 f3 48 cd c9 c9 07 00 00"), 1},
		{"7.2.3.5, two blocks in one message", frames(t, "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"), 1},
		{"a message after one with BFINAL", frames(t, "c1 08 f3 48 cd c9 c9 07 00 00 c1 05 f2 00 11 00 00"), 2},
		{"a block after one with BFINAL", frames(t, "c1 0c f3 48 cd c9 c9 07 00 f2 00 11 00 00"), -1},
	} {
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": single} {
			var l lender
			got := collect(Config{Role: Client, Inflation: l.inflation(15, true)}, test.input, size)
			want := make([]string, max(test.want, 0))
			for i := range want {
				want[i] = `text "Hello"`
			}
			if test.want < 0 {
				want = []string{`text "HelloHello"`}
			}
			if got.fault != nil || fmt.Sprint(got.events) != fmt.Sprint(want) {
				t.Errorf("%s, %s: got %q, %v", test.name, name, got.events, got.fault)
			}
		}
	}
}

// §7.2.3.6: "This is the compressed form of an empty message", and whatever else is empty.
func TestEmptyCompressedMessages(t *testing.T) {
	t.Parallel()
	for _, input := range []string{"c1 01 00", "c1 01 01", "c1 02 02 00", "41 00 80 01 00", "41 01 00 80 00", "c1 07 00 00 00 ff ff 00 00 00"} {
		var l lender
		got := collect(Config{Role: Client, Inflation: l.inflation(8, false)}, frames(t, input), single)
		empty := got.fault == nil && fmt.Sprint(got.events) == `[text ""]`
		if good := len(input) < 20; empty != good {
			t.Errorf("%s: got %q, %v", input, got.events, got.fault)
		}
	}
}

func TestCompressedFaults(t *testing.T) {
	t.Parallel()
	config := func() Config {
		return Config{Role: Client, MaxMessageBytes: 1000, Inflation: new(lender).inflation(9, true)}
	}
	text := func(s string) []byte { return compressedFrame(Text, true, deflated(t, 9, nil, []byte(s))) }
	cut := func(s string, n int) []byte {
		payload := deflated(t, 9, nil, []byte(s))
		return compressedFrame(Binary, true, payload[:len(payload)-n])
	}
	far := make([]byte, 900)
	for i := range far {
		far[i] = byte(i * i >> 3)
	}
	copy(far[len(far)-20:], far)
	for _, test := range []struct {
		name  string
		input []byte
		want  *Fault
	}{
		// §6.1: RSV1 is of the message, and set on its first frame only.
		{"RSV1 on a continuation", frames(t, "41 00 c0 00"), faultReservedBits},
		{"RSV1 on a continuation of what is not compressed", frames(t, "01 00 c0 00"), faultReservedBits},
		{"RSV1 on a ping", frames(t, "c9 00"), faultReservedBits},
		{"RSV1 on a close", frames(t, "c8 00"), faultReservedBits},
		{"RSV2", frames(t, "e1 00"), faultReservedBits},

		{"nothing", frames(t, "c1 00"), faultDeflateEnd},
		{"only the tail", frames(t, "c1 04 00 00 ff ff"), faultDeflateEnd},
		{"the tail left on", frames(t, "c1 0b f2 48 cd c9 c9 07 00 00 00 ff ff"), faultDeflateEnd},
		{"a message without its last byte", cut("some text that is compressed", 1), faultDeflateEnd},
		{"a message without its last two bytes", cut("some text that is compressed", 2), faultDeflateEnd},
		{"half a message", cut(strings.Repeat("some text that is compressed", 20), 15), faultDeflateEnd},
		{"a final block without the empty one", frames(t, "c1 07 f3 48 cd c9 c9 07 00"), faultDeflateEnd},
		{"junk after a final block", frames(t, "c1 0a f3 48 cd c9 c9 07 00 ff ff ff"), faultDeflate},
		{"a reserved block", frames(t, "c1 01 06"), faultDeflate},
		{"a stored block whose length is wrong", frames(t, "c1 06 00 05 00 fa fe 00"), faultDeflate},
		{"more codes than there are", frames(t, "c1 03 fc 00 00"), faultDeflate},
		{"a distance before the beginning", frames(t, "c1 05 f2 00 11 00 00"), faultDeflate},
		{"a length that means nothing", frames(t, "c1 03 1a 03 00"), faultDeflate},

		{"text not UTF-8", text("abc\xff"), faultText},
		{"text cut inside a character", text("abc\xe4\xb8"), faultText},
		{"an impossible byte in an unfinished message", compressedFrame(Text, false, deflated(t, 0, nil, []byte("abc\xff"))), faultText},
		{"1000 bytes", text(strings.Repeat("a", 1000)), nil},
		{"1001 bytes", text(strings.Repeat("a", 1001)), faultTooBig},
		{"a length of more than the limit", frames(t, "c1 7f 0000 0000 4000 0000"), faultTooBig},
		{"a distance beyond the window", compressedFrame(Binary, true, deflated(t, 9, nil, far)), faultDeflate},
	} {
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": single} {
			if got := collect(config(), test.input, size); got.fault != test.want {
				t.Errorf("%s, %s: got %v, want %v", test.name, name, got.fault, test.want)
			}
		}
	}
}

// What does not shrink grows: a message of the limit may be longer than that on its way.
func TestCompressedMessageOfTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	message := make([]byte, limit)
	rand.NewChaCha8([32]byte{1}).Read(message)
	config := Config{Role: Client, MaxMessageBytes: limit, Inflation: new(lender).inflation(15, false)}
	if got := collect(config, compressedFrame(Binary, true, deflated(t, 1, nil, message)), whole); got.fault != nil || len(got.events) != 1 {
		t.Errorf("got %d messages, %v", len(got.events), got.fault)
	}
	if compressedLimit(maxLimit) != maxLimit || compressedLimit(maxLimit-10) != maxLimit {
		t.Error("the limit overflows")
	}
}

// CVE-2026-27571 and many before it: a gigabyte of zeros in a megabyte.
func TestBomb(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	mebibyte := append(deflated(t, 9, nil, make([]byte, 1<<20)), 0, 0, 0xff, 0xff)
	bomb := append(bytes.Repeat(mebibyte, 1024), 0)
	for _, takeover := range []bool{false, true} {
		var l lender
		m := NewMachine(Config{Role: Client, MaxMessageBytes: limit, Inflation: l.inflation(15, takeover)})
		input := compressedFrame(Binary, true, bomb)
		inflated := 0
		for {
			event, n, err := m.Next(input)
			input = input[n:]
			inflated += len(event.Payload)
			if len(event.Payload) > 2*maxWindow {
				t.Fatalf("a chunk of %d bytes", len(event.Payload))
			}
			if err != nil {
				if err != faultTooBig {
					t.Error(err)
				}
				break
			}
		}
		if inflated > limit || inflated < limit-2*maxWindow || l.out != 0 || l.lent != 1 {
			t.Errorf("%d bytes, %d inflaters out of %d kept", inflated, l.out, l.lent)
		}
	}
}

// A mix of what compresses well, badly and not at all.
func corpus() map[string][]byte {
	random := make([]byte, 40_000)
	rand.NewChaCha8([32]byte{2}).Read(random)
	few := bytes.Clone(random)
	for i := range few {
		few[i] %= 5
	}
	var json bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&json, `{"id":%d,"name":"user-%d","tags":["a","b","%x"],"ok":%v}`, i, i*7919%1000, i*i, i%3 == 0)
	}
	return map[string][]byte{
		"random": random,
		"few":    few,
		"json":   json.Bytes(),
		"zeros":  make([]byte, 100_000),
		"short":  []byte("a"),
		"mixed":  bytes.Join([][]byte{random[:20_000], json.Bytes(), random[20_000:], few}, nil),
	}
}

func TestInflatesWhatTheStandardLibraryDeflates(t *testing.T) {
	t.Parallel()
	for name, message := range corpus() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			for _, takeover := range []bool{false, true} {
				var input, history []byte
				var want []string
				for at := 0; at < len(message); at += 30_000 {
					part := message[at:min(at+30_000, len(message))]
					input = append(input, compressedFrame(Binary, true, deflated(t, level, history, part))...)
					want = append(want, fmt.Sprintf("binary %q", part))
					if takeover {
						history = message[max(at+len(part)-maxWindow, 0) : at+len(part)]
					}
				}
				for _, size := range []func() int{whole, single, func() int { return 1 + rand.IntN(5000) }} {
					var l lender
					got := collect(Config{Role: Client, Inflation: l.inflation(15, takeover)}, input, size)
					if got.fault != nil || fmt.Sprint(got.events) != fmt.Sprint(want) {
						t.Errorf("%s, level %d, takeover %v: %d messages, %v", name, level, takeover, len(got.events), got.fault)
					}
					if l.out != 0 {
						t.Errorf("%s: %d inflaters kept", name, l.out)
					}
				}
			}
		}
	}
}

// A code of which not all bits are there may look like one that is not allowed
// where it stands.
func TestInflatesCutCodes(t *testing.T) {
	t.Parallel()
	var l lender
	m := NewMachine(Config{Role: Client, Inflation: l.inflation(15, false)})
	if _, _, err := m.Next([]byte("\xc1\x7e\x01\x4d\x04\xc0\x37\xd2\xab\x38\x00\x00\xe0")); err != nil {
		t.Error(err)
	}
}

// Messages that are not compressed leave the window as it is, and pings come between fragments.
func TestCompressedAmongOthers(t *testing.T) {
	t.Parallel()
	var input []byte
	first := []byte(strings.Repeat("over and over ", 10))
	payload := deflated(t, 9, nil, first)
	again := deflated(t, 9, first, first)
	masked := func(h Header, p []byte) {
		h.Masked, h.Key, h.Length = true, 0x12345678, int64(len(p))
		input = AppendHeader(input, h)
		start := len(input)
		input = append(input, p...)
		h.Key.Mask(input[start:])
	}
	masked(Header{RSV: RSV1, Opcode: Text}, payload[:5])
	masked(Header{Fin: true, Opcode: Ping}, []byte("p"))
	masked(Header{Opcode: Continuation}, nil)
	masked(Header{Fin: true, Opcode: Continuation}, payload[5:])
	masked(Header{Fin: true, Opcode: Text}, []byte("plain"))
	masked(Header{Fin: true, RSV: RSV1, Opcode: Binary}, again)
	if len(again) > 10 {
		t.Errorf("%x does not refer back", again)
	}
	want := fmt.Sprint([]string{`ping "p"`, fmt.Sprintf("text %q", first), `text "plain"`, fmt.Sprintf("binary %q", first)})
	for name, size := range map[string]func() int{"whole": whole, "byte by byte": single} {
		got := collect(Config{Role: Server, Inflation: new(lender).inflation(10, true)}, input, size)
		if got.fault != nil || fmt.Sprint(got.events) != want {
			t.Errorf("%s: got %q, %v", name, got.events, got.fault)
		}
	}
}

// The memory for takeover is at most the window that was agreed on.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	message := corpus()["json"]
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		m := NewMachine(Config{Role: Client, Inflation: new(lender).inflation(bits, true)})
		for size := 1; size < len(message); size *= 3 {
			input := compressedFrame(Binary, true, deflated(t, flate.HuffmanOnly, nil, message[:size]))
			for {
				event, n, err := m.Next(input)
				if err != nil {
					t.Fatal(err)
				}
				if input = input[n:]; event.Kind == More {
					break
				}
			}
			if c := cap(m.inflation.history); c > 1<<bits {
				t.Errorf("%d bits: %d bytes of history", bits, c)
			}
		}
		if n := len(m.inflation.history); n != 1<<bits {
			t.Errorf("%d bits: %d bytes of history in the end", bits, n)
		}
	}
}

func TestInflatingDoesNotAllocate(t *testing.T) {
	inflater := new(Inflater)
	m := NewMachine(Config{Role: Client, Inflation: &Inflation{
		WindowBits: 15,
		Takeover:   true,
		Lend:       func() *Inflater { return inflater },
		Return:     func(*Inflater) {},
	}})
	input := compressedFrame(Binary, true, deflated(t, 6, nil, corpus()["json"]))
	if n := testing.AllocsPerRun(100, func() {
		for rest := input; ; {
			event, n, err := m.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			if rest = rest[n:]; event.Kind == More {
				return
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The standard library is the oracle: what it takes for complete we do, and the same comes out.
func FuzzInflate(f *testing.F) {
	for _, message := range corpus() {
		f.Add(deflated(f, 6, nil, message[:min(len(message), 2000)]), uint64(1))
		f.Add(deflated(f, flate.HuffmanOnly, nil, message[:min(len(message), 2000)]), uint64(2))
	}
	f.Add([]byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, uint64(3))
	f.Add([]byte{0x05, 0xe0, 0x81, 0x08, 0x00, 0x00, 0x00, 0x00, 0x20, 0x7f, 0xeb, 0x0b, 0x00, 0x00}, uint64(4))
	f.Fuzz(func(t *testing.T, payload []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		z := new(Inflater)
		z.begin(maxWindow, nil)
		var got []byte
		ok := true
		for rest := payload; ok && (len(rest) > 0 || z.full()); {
			var out []byte
			var n int
			piece := rest[:min(len(rest), 1+random.IntN(50))]
			out, n, ok = z.inflate(piece)
			if !z.full() && ok && n != len(piece) {
				t.Fatalf("%d of %d bytes used", n, len(piece))
			}
			rest = rest[n:]
			if got = append(got, out...); len(got) > 1<<22 {
				return
			}
		}
		// A final empty block after the tail makes an end that the oracle knows.
		rest := bytes.NewBufferString(string(payload) + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")
		want, err := io.ReadAll(flate.NewReader(rest))
		switch {
		case err == nil && rest.Len() > 0: // it stops at a final block
		case !ok && err == nil:
			t.Fatalf("%x: not valid, and %d bytes for the oracle", payload, len(want))
		case ok && z.complete() && (err != nil || !bytes.Equal(got, want)):
			t.Fatalf("%x: got %d bytes; oracle: %d, %v", payload, len(got), len(want), err)
		}
	})
}
