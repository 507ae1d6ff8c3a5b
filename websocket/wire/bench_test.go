package wire

import (
	"bytes"
	"fmt"
	"testing"
)

var sizes = []int{32, 1 << 10, 64 << 10}

// BenchmarkNext reads a masked frame from memory.
func BenchmarkNext(b *testing.B) {
	for _, opcode := range []Opcode{Binary, Text} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%v/%d", opcode, size), func(b *testing.B) {
				// A key of zeros keeps the text valid when it is unmasked again and again.
				frame := AppendMaskedFrame(nil, opcode, true, 0, bytes.Repeat([]byte("a"), size))
				m := NewMachine(Config{Role: Server})
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if event, _, err := m.Next(frame); err != nil || !event.Last {
						b.Fatal(event, err)
					}
				}
			})
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			payload := make([]byte, size)
			var frame []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				frame = AppendFrame(frame[:0], Binary, true, payload)
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			payload := make([]byte, size+6)[6:]
			b.SetBytes(int64(size))
			for b.Loop() {
				Key(0x12345678).Mask(payload)
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for name, text := range map[string]string{"ascii": "The quick brown fox. ", "mixed": "Größe, 世界, ok. "} {
		b.Run(name, func(b *testing.B) {
			payload := bytes.Repeat([]byte(text), 64<<10/len(text))
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				var u UTF8
				if !u.Feed(payload) {
					b.Fatal("not valid")
				}
			}
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{300, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			payload := deflated(b, 1, nil, corpus()["json"][:size])
			z := new(Inflater)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				z.begin(maxWindow, nil)
				for rest := payload; len(rest) > 0; {
					_, n, _ := z.inflate(rest)
					rest = rest[n:]
				}
			}
		})
	}
}
