package topic

import "testing"

// FuzzParseCursor: every cursor has one text, and every text that is accepted
// is the text of its cursor.
func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"abc-7", "abc-7-9", "abc-07", "0-1", "1-0", "abc-7-7", "-", "A-1"} {
		f.Add(seed, uint64(1), uint64(0), uint64(0))
	}
	f.Add("", uint64(1<<63), uint64(5), uint64(1<<63))
	f.Fuzz(func(t *testing.T, s string, epoch, seq, told uint64) {
		if c, err := ParseCursor(s); err == nil && (c.String() != s || c.Epoch == 0) {
			t.Fatalf("accepted %q as %+v", s, c)
		}
		if epoch == 0 || told != 0 && told <= seq {
			return // no such cursor
		}
		c := Cursor{ID: ID{epoch, seq}, Told: told}
		if got, err := ParseCursor(c.String()); got != c || err != nil {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
	})
}
