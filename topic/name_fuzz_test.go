package topic

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzUnescape: every good name survives its way through a URL, and nothing
// that Unescape accepts holds a "/" that was not written as one.
func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{"a/b", "a%2fb", "%", "%41", "%C3%BC", "\xff", "%%%", "a b/\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := Unescape(s); err == nil {
			if !utf8.ValidString(name) || strings.Count(name, "/") != strings.Count(s, "/") {
				t.Fatalf("got %q", name)
			}
			if want, err := url.PathUnescape(s); name != want || err != nil {
				t.Fatalf("got %q, want %q, %v", name, want, err)
			}
		}
		if CheckName(s) != nil {
			return
		}
		var segments []string
		for segment := range strings.SplitSeq(s, "/") {
			segments = append(segments, url.PathEscape(segment))
		}
		if got, err := Unescape(strings.Join(segments, "/")); got != s || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}
