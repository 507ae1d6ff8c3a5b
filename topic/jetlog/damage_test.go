package jetlog

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

// What a damaged disk has lost is told as a gap, and nothing else is lost.
func TestDamage(t *testing.T) {
	const events, size = 24, 1 << 20 // three files
	for _, snapshot := range []bool{true, false} {
		t.Run("snapshot="+strconv.FormatBool(snapshot), func(t *testing.T) {
			t.Parallel()
			l := openAt(t, &Options{Dir: t.TempDir()})
			start := topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}
			for i := range events {
				appendText1(t, l, "large", strconv.Itoa(i)+" "+strings.Repeat("x", size))
			}
			end := appendText1(t, l, "small", "s")
			l.Close()
			damage(t, l.opts.Dir, []byte("10 xxx"))
			if !snapshot {
				if err := os.Remove(filepath.Join(l.opts.Dir, snapshotFile)); err != nil {
					t.Fatal(err)
				}
			}

			l = openAt(t, &Options{Dir: l.opts.Dir})
			defer l.Close()
			if l.End() != end {
				t.Errorf("end %v, want %v", l.End(), end)
			}
			data, gaps := readAll(t, l, start, "large")
			var numbers []string
			for _, s := range data {
				number, _, _ := strings.Cut(s, " ")
				numbers = append(numbers, number)
			}
			t.Logf("left: %v", numbers)
			if gaps != 1 || slices.Contains(numbers, "10") {
				t.Errorf("%d gaps, left: %v", gaps, numbers)
			}
			if !slices.Contains(numbers, "0") || !slices.Contains(numbers, strconv.Itoa(events-1)) {
				t.Errorf("more than what was damaged is lost: %v", numbers)
			}
			if data, _ := readAll(t, l, start, "small"); !slices.Equal(data, []string{"s"}) {
				t.Errorf("another topic: %v", data)
			}
			appendText1(t, l, "large", "it goes on")
		})
	}
}

// damage changes a byte in the file of the stream that has the text.
func damage(t *testing.T, dir string, text []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, serverFolder, "jetstream", "*", "streams", streamName, "msgs", "*.blk"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files of the stream: %v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, text); i >= 0 {
			b[i] ^= 1
			if err := os.WriteFile(file, b, fileMode); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no file has %q", text)
}

// A message that the store no longer has is lost, also if it is in the middle.
func TestMissingMessage(t *testing.T) {
	t.Parallel()
	o := Options{TailBytes: -1}
	s := newFakeStore()
	l := openFake(&o, s)
	defer l.Close()
	start := topic.Cursor{ID: topic.ID{Epoch: l.epochs[0].number}}
	for i := range 5 {
		appendText1(t, l, "a", strconv.Itoa(i))
		appendText1(t, l, "b", strconv.Itoa(i))
	}
	s.messages[4] = nil // "2" of a
	for pattern, want := range map[string]string{"a": "0 1 3 4", "*": "0 0 1 1 2 3 3 4 4"} {
		if data, gaps := readAll(t, l, start, pattern); strings.Join(data, " ") != want || gaps != 1 {
			t.Errorf("%s: %v, %d gaps", pattern, data, gaps)
		}
	}
	if data, gaps := readAll(t, l, start, "b"); len(data) != 5 || gaps != 0 {
		t.Errorf("b: %v, %d gaps", data, gaps)
	}
}
