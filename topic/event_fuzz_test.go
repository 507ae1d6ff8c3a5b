package topic

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

// FuzzNewDraft: the kind is a promise about the data.
func FuzzNewDraft(f *testing.F) {
	f.Add("", []byte("x"))
	f.Add("application/json", []byte("{}"))
	f.Add("a/b+json; c=\"", []byte("\"\\ud800\""))
	f.Add("text/\xff", []byte("\xff"))
	f.Fuzz(func(t *testing.T, media string, data []byte) {
		d, err := NewDraft("", media, data)
		if err != nil {
			if err != ErrNotJSON || baseMedia(media) != mediaJSON {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(d.Data, data) || media != "" && d.Media != media || d.Media == "" {
			t.Fatalf("got %+v", d)
		}
		if d.Kind != Binary && !utf8.Valid(data) || d.Kind == JSON && !validJSON(data) {
			t.Fatalf("kind %d", d.Kind)
		}
	})
}
