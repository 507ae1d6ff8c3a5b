package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"
)

// collected is what a machine gave, with the chunks of each message joined.
type collected struct {
	events  []string // whole messages and control frames, in order
	partial []byte   // of a message that has not ended
	fault   *Fault
}

// collect gives input to a machine in pieces of the sizes that size gives.
func collect(config Config, input []byte, size func() int) collected {
	m := NewMachine(config)
	var got collected
	input = bytes.Clone(input)
	for {
		piece := input[:min(len(input), max(size(), 1))]
		input = input[len(piece):]
		for {
			event, n, err := m.Next(piece)
			if err != nil {
				got.fault = err.(*Fault)
				return got
			}
			piece = piece[n:]
			if event.Kind == More {
				break
			}
			switch event.Kind {
			case Chunk:
				if event.First {
					got.partial = nil
				}
				got.partial = append(got.partial, event.Payload...)
				if event.Last {
					got.events = append(got.events, fmt.Sprintf("%v %q", event.Opcode, got.partial))
					got.partial = nil
				}
			case PingEvent:
				got.events = append(got.events, fmt.Sprintf("ping %q", event.Payload))
			case PongEvent:
				got.events = append(got.events, fmt.Sprintf("pong %q", event.Payload))
			case CloseEvent:
				code, reason, err := ParseClose(event.Payload)
				got.events = append(got.events, fmt.Sprintf("close %d %q %v", code, reason, err))
			}
		}
		if len(piece) > 0 {
			panic("More with input left")
		}
		if len(input) == 0 {
			return got
		}
	}
}

func whole() int  { return math.MaxInt }
func single() int { return 1 }

// frames joins frames written as hex, spaces allowed.
func frames(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// masked is a frame of a client.
func masked(opcode Opcode, fin bool, payload string) []byte {
	return AppendMaskedFrame(nil, opcode, fin, 0x3d21fa37, []byte(payload))
}

// RFC 6455 §5.7, the examples.
func TestExamplesOfTheRFC(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("ab", n/2) }
	for _, test := range []struct {
		name  string
		role  Role
		input []byte
		want  []string
	}{
		{"a single-frame unmasked text message", Client, frames(t, "81 05 48 65 6c 6c 6f"), []string{`text "Hello"`}},
		{"a single-frame masked text message", Server, frames(t, "81 85 37 fa 21 3d 7f 9f 4d 51 58"), []string{`text "Hello"`}},
		{"a fragmented unmasked text message", Client, frames(t, "01 03 48 65 6c 80 02 6c 6f"), []string{`text "Hello"`}},
		{"unmasked ping request", Client, frames(t, "89 05 48 65 6c 6c 6f"), []string{`ping "Hello"`}},
		{"masked ping response", Server, frames(t, "8a 85 37 fa 21 3d 7f 9f 4d 51 58"), []string{`pong "Hello"`}},
		{"256 bytes binary message", Client, append(frames(t, "82 7E 0100"), long(256)...), []string{fmt.Sprintf("binary %q", long(256))}},
		{"64KiB binary message", Client, append(frames(t, "82 7F 0000000000010000"), long(65536)...), []string{fmt.Sprintf("binary %q", long(65536))}},
	} {
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": single} {
			got := collect(Config{Role: test.role}, test.input, size)
			if got.fault != nil || fmt.Sprint(got.events) != fmt.Sprint(test.want) {
				t.Errorf("%s, %s: got %.80q, fault %v", test.name, name, got.events, got.fault)
			}
		}
	}
}

func TestWritesExamplesOfTheRFC(t *testing.T) {
	t.Parallel()
	hello := []byte("Hello")
	for _, test := range []struct{ got, want []byte }{
		{AppendFrame(nil, Text, true, hello), frames(t, "81 05 48 65 6c 6c 6f")},
		{AppendMaskedFrame(nil, Text, true, 0x3d21fa37, hello), frames(t, "81 85 37 fa 21 3d 7f 9f 4d 51 58")},
		{AppendFrame(AppendFrame(nil, Text, false, hello[:3]), Continuation, true, hello[3:]), frames(t, "01 03 48 65 6c 80 02 6c 6f")},
		{AppendFrame(nil, Ping, true, hello), frames(t, "89 05 48 65 6c 6c 6f")},
		{AppendFrame(nil, Binary, true, make([]byte, 256))[:4], frames(t, "82 7E 0100")},
		{AppendFrame(nil, Binary, true, make([]byte, 65536))[:10], frames(t, "82 7F 0000000000010000")},
	} {
		if !bytes.Equal(test.got, test.want) {
			t.Errorf("got %x, want %x", test.got, test.want)
		}
	}
	if string(hello) != "Hello" {
		t.Error("the caller's payload was masked")
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, test := range []struct {
		name  string
		input []byte
		want  []string
	}{
		// §5.5: control frames "MAY be injected in the middle of a fragmented message".
		{"control frames between fragments", join(
			masked(Text, false, "a"), masked(Ping, true, "p"), masked(Continuation, false, "b"), masked(Pong, true, ""), masked(Continuation, true, "c"),
		), []string{`ping "p"`, `pong ""`, `text "abc"`}},
		{"a character cut by fragments and a ping", join(
			masked(Text, false, "\xe4"), masked(Ping, true, "\xff"), masked(Continuation, false, "\xb8"), masked(Continuation, true, "\x96"),
		), []string{`ping "\xff"`, `text "世"`}},
		{"empty messages and fragments", join(
			masked(Text, true, ""), masked(Binary, false, ""), masked(Continuation, false, ""), masked(Continuation, true, ""),
		), []string{`text ""`, `binary ""`}},
		{"binary need not be UTF-8", masked(Binary, true, "\xff\xfe"), []string{`binary "\xff\xfe"`}},
		// §5.5.1: after a close frame data is ignored.
		{"frames after the close", join(masked(Close, true, "\x03\xe8bye"), masked(Text, true, "late"), []byte{0xFF, 0xFF}), []string{`close 1000 "bye" <nil>`}},
		{"close without a code", masked(Close, true, ""), []string{`close 1005 "" <nil>`}},
		{"the longest control frame", masked(Ping, true, strings.Repeat("x", 125)), []string{fmt.Sprintf("ping %q", strings.Repeat("x", 125))}},
	} {
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": single} {
			got := collect(Config{Role: Server}, test.input, size)
			if got.fault != nil || fmt.Sprint(got.events) != fmt.Sprint(test.want) {
				t.Errorf("%s, %s: got %q, fault %v; want %q", test.name, name, got.events, got.fault, test.want)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	server, client := Config{Role: Server, MaxMessageBytes: 1000}, Config{Role: Client, MaxMessageBytes: 1000}
	unlimited := Config{Role: Client}
	for _, test := range []struct {
		name   string
		config Config
		input  []byte
		want   *Fault
	}{
		// §5.1
		{"client frame without mask", server, frames(t, "81 00"), faultNotMasked},
		{"server frame with mask", client, frames(t, "81 80"), faultMasked},
		// §5.2: reserved bits, also where an extension could define them
		{"RSV1", client, frames(t, "c1 00"), faultReservedBits},
		{"RSV2", client, frames(t, "a1 00"), faultReservedBits},
		{"RSV3", client, frames(t, "91 00"), faultReservedBits},
		{"RSV1 on ping, allowed on data", Config{Role: Client, RSV: RSV1}, frames(t, "c9 00"), faultReservedBits},
		{"RSV1 on continuation, allowed on first", Config{Role: Client, RSV: RSV1}, frames(t, "41 00 c0 00"), faultReservedBits},
		{"RSV2, RSV1 allowed", Config{Role: Client, RSV: RSV1}, frames(t, "e1 00"), faultReservedBits},
		{"opcode 3", client, frames(t, "83 00"), faultReservedOpcode},
		{"opcode 7", client, frames(t, "87 00"), faultReservedOpcode},
		{"opcode B", client, frames(t, "8b 00"), faultReservedOpcode},
		{"opcode F", client, frames(t, "8f 00"), faultReservedOpcode},
		// §5.2: lengths
		{"125 in 16 bits", client, frames(t, "82 7e 007d"), faultLengthForm},
		{"65535 in 64 bits", client, frames(t, "82 7f 000000000000ffff"), faultLengthForm},
		{"2^63", unlimited, frames(t, "82 7f 8000000000000000"), faultLengthSign},
		{"2^64-1", unlimited, frames(t, "82 7f ffffffffffffffff"), faultLengthSign},
		{"2^63-1 above the limit", client, frames(t, "82 7f 7fffffffffffffff"), faultTooBig},
		{"1001 of 1000", client, frames(t, "82 7e 03e9"), faultTooBig},
		{"fragments of 999 and 2", client, append(append(frames(t, "02 7e 03e7"), make([]byte, 999)...), 0x80, 0x02), faultTooBig},
		{"a sum of fragments above 2^63-1", unlimited, frames(t, "02 01 61 80 7f 7fffffffffffffff"), faultTooBig},
		// §5.4
		{"continuation of nothing", client, frames(t, "80 00"), faultNothingToGoOn},
		{"continuation after the end", client, frames(t, "82 00 80 00"), faultNothingToGoOn},
		{"text inside a message", client, frames(t, "02 00 81 00"), faultNotContinued},
		// §5.5
		{"fragmented ping", client, frames(t, "09 00"), faultControlFragment},
		{"fragmented close", client, frames(t, "08 00"), faultControlFragment},
		{"ping of 126", client, frames(t, "89 7e"), faultControlLength},
		{"close of 64 bits", client, frames(t, "88 7f"), faultControlLength},
		// §5.5.1, §7.4
		{"close payload of one byte", client, frames(t, "88 01 03"), faultClosePayload},
		{"close code 999", client, frames(t, "88 02 03e7"), faultCloseCode},
		{"close code 1005", client, frames(t, "88 02 03ed"), faultCloseCode},
		{"close code 1006", client, frames(t, "88 02 03ee"), faultCloseCode},
		{"close code 2999", client, frames(t, "88 02 0bb7"), faultCloseCode},
		{"close code 5000", client, frames(t, "88 02 1388"), faultCloseCode},
		{"close reason not UTF-8", client, frames(t, "88 03 03e8 ff"), faultCloseReason},
		// §8.1
		{"text not UTF-8", client, frames(t, "81 01 ff"), faultText},
		{"text cut inside a character", client, frames(t, "81 02 e4b8"), faultText},
		{"a surrogate over fragments", client, frames(t, "01 01 ed 80 02 a080"), faultText},
		// at the first impossible byte, not at the end of the frame or message
		{"impossible byte in an unfinished message", client, frames(t, "01 7e 0100 61 f4 90"), faultText},
	} {
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": single} {
			if got := collect(test.config, test.input, size); got.fault != test.want {
				t.Errorf("%s, %s: got %v, want %v", test.name, name, got.fault, test.want)
			}
		}
	}
}

// A fault is found by the first two bytes, if they tell.
func TestFaultsNeedNoMoreThanTwoBytes(t *testing.T) {
	t.Parallel()
	for _, input := range []string{"f1 fe", "83 fe", "81 7e", "09 fe", "89 fe", "80 fe"} {
		if got := collect(Config{Role: Server}, frames(t, input), whole); got.fault == nil {
			t.Errorf("%s: no fault", input)
		}
	}
}

func TestFaultIsFinal(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{Role: Client})
	_, _, first := m.Next(frames(t, "83 00"))
	_, n, again := m.Next(frames(t, "81 00"))
	if first == nil || again != first || n != 0 {
		t.Errorf("got %v, then %v and %d bytes used", first, again, n)
	}
}

func TestReservedBitOfAnExtension(t *testing.T) {
	t.Parallel()
	// What is compressed need not be UTF-8.
	got := collect(Config{Role: Client, RSV: RSV1}, frames(t, "41 01 ff 80 01 fe"), single)
	if got.fault != nil || len(got.events) != 1 || got.events[0] != `text "\xff\xfe"` {
		t.Errorf("got %q, %v", got.events, got.fault)
	}
}

func TestLimitIsInclusiveAndCanChange(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{Role: Client, MaxMessageBytes: 3})
	if _, _, err := m.Next(frames(t, "82 03 616161")); err != nil {
		t.Fatal(err)
	}
	m.SetLimit(4)
	if _, _, err := m.Next(frames(t, "82 04 61616161")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Next(frames(t, "82 05")); err != faultTooBig {
		t.Fatalf("got %v", err)
	}
}

// CVE-2026-48779: a message of very many tiny fragments exhausts the memory of its receiver.
func TestFragmentsAreCounted(t *testing.T) {
	t.Parallel()
	input := frames(t, "02 00")
	for range MaxFragments - 2 {
		input = append(input, 0x00, 0x01, 'x')
	}
	legal := append(bytes.Clone(input), 0x80, 0x00)
	if got := collect(Config{Role: Client}, legal, whole); got.fault != nil || len(got.events) != 1 {
		t.Errorf("%d fragments: %v", MaxFragments, got.fault)
	}
	illegal := append(input, 0x00, 0x00, 0x80, 0x00)
	if got := collect(Config{Role: Client}, illegal, whole); got.fault != faultFragments {
		t.Errorf("%d fragments: got %v", MaxFragments+1, got.fault)
	}
}

// Chunks come as their bytes do: nothing waits for the end of a frame.
func TestChunksStream(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{Role: Client})
	event, n, err := m.Next(frames(t, "82 7f 00000000 80000000"))
	if err != nil || n != 10 || event.Kind != Chunk || !event.First || event.Last || !event.Frame || len(event.Payload) != 0 {
		t.Fatalf("header alone: %+v, %d, %v", event, n, err)
	}
	if m.Left() != 1<<31 || !m.InMessage() || m.Header().Length != 1<<31 {
		t.Fatalf("left %d, in message %v", m.Left(), m.InMessage())
	}
	input := []byte("abc")
	event, n, err = m.Next(input)
	if err != nil || n != 3 || event.First || event.Frame || &event.Payload[0] != &input[0] {
		t.Fatalf("payload: %+v, %d, %v", event, n, err)
	}
	if m.Left() != 1<<31-3 {
		t.Fatalf("left %d", m.Left())
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	frame := masked(Text, true, "Hello")
	m := NewMachine(Config{Role: Server, MaxMessageBytes: 1 << 20})
	input := make([]byte, len(frame))
	if n := testing.AllocsPerRun(100, func() {
		copy(input, frame)
		if event, _, err := m.Next(input); err != nil || string(event.Payload) != "Hello" {
			t.Fatal(event, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
