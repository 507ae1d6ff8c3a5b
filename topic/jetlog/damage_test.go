package jetlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
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
	start := topic.Cursor{ID: topic.ID{Epoch: l.epochs[0].Number}}
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

// What a disk has lost of the newest is told, too, and its ids are not given again;
// also if the log was not closed, and if all is gone.
func TestDamagedEnd(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, damaged := range []string{"5", "0"} { // all from there on, or everything
			t.Run(fmt.Sprintf("clean=%v,from=%s", clean, damaged), func(t *testing.T) {
				t.Parallel()
				l := openAt(t, &Options{Dir: t.TempDir()})
				start := topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}
				var ids []topic.ID
				for i := range 10 {
					ids = append(ids, appendText1(t, l, "a", "text "+strconv.Itoa(i)))
				}
				l.Close()
				streams := filepath.Join(l.opts.Dir, serverFolder, "jetstream", "$G", "streams", streamName, "msgs")
				// Without its own index the server looks at each message, and drops all from the first one that is damaged.
				if err := errors.Join(os.Remove(filepath.Join(streams, "index.db")), flip(filepath.Join(streams, "1.blk"), "text "+damaged)); err != nil {
					t.Fatal(err)
				}
				if !clean {
					if err := os.Remove(filepath.Join(l.opts.Dir, snapshotFile)); err != nil {
						t.Fatal(err)
					}
				}
				var told bytes.Buffer
				o := l.opts
				o.Logger = slog.New(slog.NewTextHandler(&told, nil))
				for range 2 { // the second time it is known
					l = openAt(t, &o)
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if !strings.Contains(told.String(), "lost its newest events") {
					t.Errorf("logged: %s", &told)
				}
				l = openAt(t, &o)
				defer l.Close()
				next := appendText1(t, l, "a", "next")
				if last := ids[len(ids)-1]; next.Seq <= last.Seq || next.Epoch == last.Epoch {
					t.Errorf("id %v after %v", next, last)
				}
				kept, _ := strconv.Atoi(damaged)
				for i, id := range append([]topic.ID{start.ID}, ids...) {
					data, gaps := readAll(t, l, topic.Cursor{ID: id}, "a")
					left, wantGaps := max(0, kept-i), 1
					if i == len(ids) {
						wantGaps = 0 // it had all that is lost
					}
					if gaps != wantGaps || len(data) != left+1 || data[left] != "next" {
						t.Errorf("after %v: %d gaps, want %d; %q, want %d and the next", id, gaps, wantGaps, data, left)
					}
				}
			})
		}
	}
}

// What the server has written of a stream itself can be made anew: its events are
// there, and their ids are unknown.
func TestDamagedMeta(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	id := appendText1(t, l, "a", "1", "2")
	l.Close()
	meta := filepath.Join((&directory{path: l.opts.Dir}).streamsFolder(), streamName, "meta.sum")
	if err := os.WriteFile(meta, []byte("0"), fileMode); err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	o := l.opts
	o.Logger = slog.New(slog.NewTextHandler(&told, nil))
	l = openAt(t, &o)
	defer l.Close()
	if data, gaps := readAll(t, l, topic.Cursor{ID: id}, "a"); len(data) != 2 || gaps != 1 {
		t.Errorf("%q, %d gaps", data, gaps)
	}
	if !strings.Contains(told.String(), "made anew") || !strings.Contains(told.String(), "checksum") {
		t.Errorf("logged: %s", &told)
	}
}

// flip changes a byte of a file, in a text that it has.
func flip(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	i := bytes.Index(b, []byte(text))
	if i < 0 {
		return fmt.Errorf("%s does not have %q", file, text)
	}
	b[i] ^= 1
	return os.WriteFile(file, b, fileMode)
}

// A start that cannot open the store changes nothing in it.
func TestUnopened(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	appendText1(t, l, "a", "1", "2")
	l.Close()
	d := &directory{path: l.opts.Dir}
	messages := filepath.Join(d.streamsFolder(), streamName, "msgs")
	block, aside := filepath.Join(messages, "1.blk"), filepath.Join(t.TempDir(), "1.blk")
	// A folder where a file was cannot be read, not even by root; the server removes the stream then.
	for _, err := range []error{os.Rename(block, aside), os.Remove(filepath.Join(messages, "index.db")), os.Mkdir(block, directoryMode)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if l, err := Open(t.Context(), &l.opts); err == nil {
			l.Close()
			t.Fatal("a log that cannot be read was opened")
		} else if !strings.Contains(err.Error(), "1.blk") {
			t.Errorf("error %v, want one that names the file", err)
		}
	}
	if err := errors.Join(os.Remove(block), os.Rename(aside, block)); err != nil {
		t.Fatal(err)
	}
	for _, leftover := range []string{"", guardHalf, guardFolder} { // of a start that was killed
		if leftover != "" {
			if err := d.guard(); err != nil {
				t.Fatal(err)
			}
		}
		err := error(nil)
		switch leftover {
		case guardHalf:
			err = os.Rename(d.file(guardFolder), d.file(guardHalf))
		case guardFolder:
			err = os.RemoveAll(filepath.Join(d.streamsFolder(), streamName))
		}
		if err != nil {
			t.Fatal(err)
		}
		l := openAt(t, &l.opts)
		if data, gaps := readAll(t, l, topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}, "a"); len(data) != 2 || gaps != 0 {
			t.Errorf("with %q: %q, %d gaps", leftover, data, gaps)
		}
		l.Close()
		for _, name := range []string{guardHalf, guardFolder} {
			if _, err := os.Stat(d.file(name)); err == nil {
				t.Errorf("with %q: %s is still there", leftover, name)
			}
		}
	}
}
