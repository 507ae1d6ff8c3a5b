package topic

import (
	"fmt"
	"math"
	"testing"
)

func TestCursorText(t *testing.T) {
	for _, test := range []struct {
		cursor Cursor
		text   string
	}{
		{Cursor{ID: exampleID}, "abc-7"},
		{Cursor{ID: ID{Epoch: 1}}, "1-0"},
		{Cursor{ID: ID{Epoch: 36, Seq: 10}}, "10-10"},
		{Cursor{ID: exampleID, Told: 8}, "abc-7-8"},
		{Cursor{ID: ID{Epoch: 1}, Told: 1}, "1-0-1"},
		{Cursor{ID: ID{math.MaxUint64, math.MaxUint64}}, "3w5e11264sgsf-18446744073709551615"},
		{Cursor{ID: ID{math.MaxUint64, math.MaxUint64 - 1}, Told: math.MaxUint64}, "3w5e11264sgsf-18446744073709551614-18446744073709551615"},
	} {
		if got := test.cursor.String(); got != test.text {
			t.Errorf("%+v: got %s, want %s", test.cursor, got, test.text)
		}
		if got := string(test.cursor.AppendTo([]byte("dst"))); got != "dst"+test.text {
			t.Errorf("%+v: appended %s", test.cursor, got)
		}
		if got, err := ParseCursor(test.text); got != test.cursor || err != nil {
			t.Errorf("%s: got %+v, %v", test.text, got, err)
		}
		// An id is the text of a cursor that was told nothing.
		if id := test.cursor.ID; test.cursor.Told == 0 && (id.String() != test.text || string(id.AppendTo(nil)) != test.text) {
			t.Errorf("%+v: id is %s", test.cursor, id)
		}
	}
}

// PROTOCOL.md §5.2: what is not the text of a cursor is
// malformed, so that two cursors are the same exactly if their texts are.
func TestParseCursorRefuses(t *testing.T) {
	for _, s := range []string{
		"", "-", "abc", "abc-", "-7", "--7", "abc--7", "abc-7-", "abc-7-8-", "abc-7-8-9", "now", "earliest",
		"0-7", "abc-07", "abc-00", "0abc-7", "ABC-7", "abc-7a", "abc-x", "abc-7-x", "abc-7-08",
		"abc-7-7", "abc-7-6", "abc-7-0", // was told of nothing that Seq does not say
		"+abc-7", "abc-+7", "abc--7", "a_c-7", "abc-1_0", " abc-7", "abc-7 ", "abc-7\n", "abc-7\x00", `"abc-7"`, "abc-٧",
		"3w5e11264sgsg-7", "abc-18446744073709551616", "abc-7-18446744073709551616",
	} {
		if got, err := ParseCursor(s); got != (Cursor{}) || err != errCursor {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
}

func TestAdvance(t *testing.T) {
	told := Cursor{ID: ID{1, 5}, Told: 9}
	for _, test := range []struct {
		seq  uint64
		want Cursor
	}{
		{6, Cursor{ID: ID{1, 6}, Told: 9}},
		{8, Cursor{ID: ID{1, 8}, Told: 9}},
		{9, Cursor{ID: ID{1, 9}}},
		{10, Cursor{ID: ID{1, 10}}},
	} {
		got := told.Advance(ID{1, test.seq})
		if got != test.want {
			t.Errorf("to %d: got %+v, want %+v", test.seq, got, test.want)
		}
		if back, err := ParseCursor(got.String()); back != got || err != nil {
			t.Errorf("to %d: %s became %+v, %v", test.seq, got, back, err)
		}
	}
}

func TestIDWithoutAllocation(t *testing.T) {
	dst := make([]byte, 0, 64)
	c := Cursor{ID: exampleID, Told: 1 << 60}
	text := c.String()
	if n := testing.AllocsPerRun(100, func() {
		dst = c.AppendTo(dst[:0])
		if got, err := ParseCursor(text); got != c || err != nil {
			t.Fatal(got, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleID() {
	id := ID{Epoch: 46655, Seq: 42}
	fmt.Println(id)
	// Output: zzz-42
}
