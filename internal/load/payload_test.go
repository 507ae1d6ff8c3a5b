//go:build linux

package load

import (
	"bytes"
	"testing"
)

func TestArrival(t *testing.T) {
	pattern, err := newPattern(40)
	if err != nil {
		t.Fatal(err)
	}
	const number = 0x0123456789abcdef
	message := bytes.Clone(pattern)
	putNumber(message, number)
	for size := 1; size <= len(message); size++ {
		var a arrival
		feed := func(b []byte) {
			for from := 0; from < len(b); from += size {
				a.feed(pattern, b[from:min(from+size, len(b))])
			}
		}
		for i := range message { // one byte is another one
			changed := bytes.Clone(message)
			changed[i] ^= 0x80
			feed(changed)
			if _, ok := a.end(pattern); ok {
				t.Fatalf("pieces of %d: a change at %d was not seen", size, i)
			}
		}
		for _, wrong := range [][]byte{message[:39], message[:10], append(bytes.Clone(message), 'x'), nil} {
			feed(wrong)
			if _, ok := a.end(pattern); ok {
				t.Fatalf("pieces of %d: %d bytes were taken for a message", size, len(wrong))
			}
		}
		feed(message)
		if got, ok := a.end(pattern); !ok || got != number {
			t.Fatalf("pieces of %d: number %x, %t", size, got, ok)
		}
	}
}

func TestDeflate(t *testing.T) {
	text := newJSON(4096)
	packed, err := deflate(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(packed) < 4096/7 || len(packed) > 4096/3 {
		t.Errorf("4096 bytes become %d: not like JSON", len(packed))
	}
	back, err := inflate(packed, len(text))
	if err != nil || !bytes.Equal(back, text) {
		t.Errorf("%d bytes come back, %v", len(back), err)
	}
	if cut, err := inflate(packed[:len(packed)/2], len(text)); err == nil && bytes.Equal(cut, text) {
		t.Error("half of it was enough")
	}
}
