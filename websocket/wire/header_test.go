package wire

import (
	"math"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	t.Parallel()
	for length, size := range map[int64]int{
		0: 2, 125: 2, 126: 4, 127: 4, 65535: 4, 65536: 10, 1 << 32: 10, math.MaxInt64: 10,
	} {
		for _, h := range []Header{
			{Opcode: Binary, Length: length},
			{Fin: true, RSV: RSV1 | RSV3, Opcode: Text, Masked: true, Key: 0xdeadbeef, Length: length},
		} {
			want := size
			if h.Masked {
				want += 4
			}
			b := AppendHeader(nil, h)
			got, n, err := ParseHeader(append(b, 0xFF))
			if got != h || n != want || len(b) != want || err != nil {
				t.Errorf("%+v: got %+v, %d bytes of %d, %v", h, got, n, want, err)
			}
			for cut := range b {
				if _, n, err := ParseHeader(b[:cut]); n != 0 || err != nil {
					t.Errorf("%+v cut to %d: got %d, %v", h, cut, n, err)
				}
			}
		}
	}
}

func TestOpcodesHaveNames(t *testing.T) {
	t.Parallel()
	for opcode, want := range map[Opcode]string{
		Continuation: "continuation", Text: "text", Binary: "binary", Close: "close", Ping: "ping", Pong: "pong", 3: "opcode 3",
	} {
		if got := opcode.String(); got != want {
			t.Errorf("%d: %q", byte(opcode), got)
		}
	}
}
