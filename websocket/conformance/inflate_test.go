package conformance

import (
	"bytes"
	"strings"
	"testing"
)

// The examples of RFC 7692 §7.2.3.
func TestInflateExamples(t *testing.T) {
	for _, test := range []struct{ data, history string }{
		{"f2 48 cd c9 c9 07 00", ""},
		{"f2 00 11 00 00", "Hello"},
		{"00 05 00 fa ff 48 65 6c 6c 6f 00", ""},
		{"f3 48 cd c9 c9 07 00 00", ""},
		{"f2 48 05 00 00 00 ff ff ca c9 c9 07 00", ""},
	} {
		data, err := appendHex(nil, test.data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := inflate(data, []byte(test.history), 1<<15)
		if string(got) != "Hello" || err != nil {
			t.Errorf("%s: %q, %v", test.data, got, err)
		}
	}
}

// What compress/flate compresses comes out as it was, in blocks of every type.
func TestInflateRoundTrip(t *testing.T) {
	words := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 700))
	for name, message := range map[string][]byte{
		"empty": nil,
		"words": words,
		"noise": appendNoise(nil, 70000),
		"mixed": append(appendNoise(nil, 20000), words...),
		"bytes": bytes.Repeat([]byte("x"), 100000),
	} {
		for _, bits := range []int{8, 11, 15} {
			c := compressor{bits: bits}
			data, err := c.compress(message, false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := inflate(data, nil, 1<<bits)
			if !bytes.Equal(got, message) || err != nil {
				t.Errorf("%s, %d bits: %d bytes for %d, %v", name, bits, len(got), len(message), err)
			}
		}
	}
}

func TestInflateTakeover(t *testing.T) {
	c := compressor{bits: 15}
	var history []byte
	for range 3 {
		message := appendNoise(nil, 10000)
		data, err := c.compress(message, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := inflate(data, history, 1<<15)
		if !bytes.Equal(got, message) || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if history != nil && len(data) > 1000 {
			t.Errorf("%d bytes: nothing was taken over", len(data))
		}
		history = append(history, message...)
	}
}

// RFC 7692 §7.1.2: what refers further back than the window, or before the beginning, is wrong,
// though other decoders may take it.
func TestInflateFaults(t *testing.T) {
	c := compressor{bits: 15}
	far, err := c.compress(append(appendNoise(nil, 600), appendNoise(nil, 600)...), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inflate(far, nil, 512); err == nil || !strings.Contains(err.Error(), "window of 512") {
		t.Errorf("600 bytes back: %v", err)
	}
	if _, err := inflate(far, nil, 1024); err != nil {
		t.Errorf("600 bytes back: %v", err)
	}
	for _, digits := range []string{
		"07",                               // block type 3
		"00 05 00 00 00 48 65 6c 6c 6f 00", // lengths that differ
		"f2 48 cd c9",                      // cut short
		"02 02 00 00",                      // before the beginning
		"1a 03 00 00",                      // length code 286
		"",                                 // no block
	} {
		data, err := appendHex(nil, digits)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inflate(data, nil, 1<<15); err == nil {
			t.Errorf("%s: %q", digits, got)
		}
	}
}
