package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUTF8AgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{
		"a", strings.Repeat("ascii ", 12), "é", "世", "𝄞", "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xed\x9f\xbf",
		"\xef\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5", "\xfe", "\xe4\xb8", "\xf0\x9d\x84", "\x00",
	}
	for range 20000 {
		var text []byte
		for range random.IntN(5) {
			// mostly valid ones, or nothing valid would be long
			n := len(pieces)
			if random.IntN(4) > 0 {
				n = 5
			}
			text = append(text, pieces[random.IntN(n)]...)
		}
		var u UTF8
		possible := true
		for at := 0; at < len(text) && possible; {
			n := min(len(text)-at, 1+random.IntN(9))
			possible = u.Feed(text[at : at+n])
			at += n
			// A text is possible as long as something can make it valid.
			if want := canBecomeValid(text[:at]); possible != want {
				t.Fatalf("seed %d: %q cut at %d: possible %v, want %v", seed, text, at, possible, want)
			}
		}
		if got := possible && u.Complete(); got != utf8.Valid(text) {
			t.Fatalf("seed %d: %q: valid %v", seed, text, got)
		}
	}
}

// canBecomeValid tries what can complete a character that is cut.
func canBecomeValid(text []byte) bool {
	for _, rest := range []string{"", "\x80", "\x80\x80", "\x80\x80\x80", "\xbf", "\xbf\x80", "\xbf\x80\x80", "\x9f\xbf", "\x8f\xbf\xbf", "\xa0\x80", "\x90\x80\x80"} {
		if utf8.Valid(append(bytes.Clone(text), rest...)) {
			return true
		}
	}
	return false
}
