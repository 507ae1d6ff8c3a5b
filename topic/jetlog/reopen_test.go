package jetlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// reopen closes a log and opens it again.
func reopen(t *testing.T, l *Log) *Log {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return openAt(t, &l.opts)
}

func appendText1(t *testing.T, l *Log, name string, data ...string) topic.ID {
	t.Helper()
	var drafts []topic.Draft
	for _, s := range data {
		drafts = append(drafts, topic.Draft{Media: "text/plain", Data: []byte(s)})
	}
	id, err := l.Append(t.Context(), name, drafts, topic.Key{})
	if err != nil {
		t.Fatalf("Append %q %q: %v", name, data, err)
	}
	return id
}

// readAll reads until there is no more.
func readAll(t *testing.T, l *Log, after topic.Cursor, pattern string) (data []string, gaps int) {
	t.Helper()
	interests := []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, pattern)}, After: after}}
	for {
		page, err := l.Read(t.Context(), interests, topic.Limit{Events: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			if e.IsEnd() {
				data = append(data, topic.TypeEnd)
			} else {
				data = append(data, string(e.Data))
			}
		}
		gaps += len(page.Gaps)
		if interests[0].After = page.Cursor; !page.More {
			return data, gaps
		}
	}
}

// What a log knows it knows after it was closed and opened again, with its
// snapshot and without.
func TestReopen(t *testing.T) {
	for _, snapshot := range []bool{true, false} {
		t.Run(fmt.Sprintf("snapshot=%v", snapshot), func(t *testing.T) {
			t.Parallel()
			last := 1
			rules, err := topic.NewRules(
				topic.Rule{Pattern: pattern1(t, "last/*"), RetainEvents: &last},
				topic.Rule{Pattern: pattern1(t, "passing/*"), RetainEvents: new(int)},
				topic.Rule{Pattern: pattern1(t, "types/*"), RetainEvents: new(2), Slow: topic.SlowConflateTypes},
			)
			if err != nil {
				t.Fatal(err)
			}
			l := openAt(t, &Options{Dir: t.TempDir(), Bounds: topic.Bounds{RetainEvents: 3, Rules: rules}})
			start := topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}
			first := appendText1(t, l, "a", "1", "2")
			for i := range 5 {
				appendText1(t, l, "busy", strconv.Itoa(i))
				appendText1(t, l, "last/1", "v"+strconv.Itoa(i))
			}
			key := topic.Key{Value: "k", Digest: [32]byte{1}}
			keyed, err := l.Append(t.Context(), "b", draft128, key)
			if err != nil {
				t.Fatal(err)
			}
			for _, typ := range []string{"x", "y", "x", "x"} {
				if _, err := l.Append(t.Context(), "types/1", []topic.Draft{{Type: typ, Data: []byte(typ)}}, topic.Key{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Append(t.Context(), "ended", []topic.Draft{{Data: []byte("e")}, topic.EndDraft()}, topic.Key{}); err != nil {
				t.Fatal(err)
			}
			appendText1(t, l, "passing/1", "p", "q")
			end := l.End()
			before, err := l.Topics(t.Context(), "", 100)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if !snapshot {
					if err := os.Remove(filepath.Join(l.opts.Dir, snapshotFile)); err != nil {
						t.Fatal(err)
					}
				}
				l = openAt(t, &l.opts)
				if l.End() != end {
					t.Errorf("end %v, want %v", l.End(), end)
				}
				if list, err := l.Topics(t.Context(), "", 100); err != nil || !slices.Equal(list, before) {
					t.Errorf("topics %+v, %v, want %+v", list, err, before)
				}
				for pattern, want := range map[string]struct {
					data string
					gaps int
				}{
					"a":         {"[1 2]", 0},
					"busy":      {"[2 3 4]", 1},
					"last/1":    {"[v4]", 0},
					"ended":     {"[e $end]", 0},
					"types/1":   {"[x x]", 1}, // "y" was lost
					"passing/1": {"[]", 0},
					"*/*":       {"[v4 x x]", 1},
				} {
					if data, gaps := readAll(t, l, start, pattern); fmt.Sprint(data) != want.data || gaps != want.gaps {
						t.Errorf("%s: %v, %d gaps, want %v", pattern, data, gaps, want)
					}
				}
				if data, gaps := readAll(t, l, topic.Cursor{ID: first}, "a"); fmt.Sprint(data) != "[2]" || gaps != 0 {
					t.Errorf("a after its first: %v, %d gaps", data, gaps)
				}
				if id, err := l.Append(t.Context(), "b", draft128, key); err != nil || id != keyed {
					t.Errorf("repeated: %v, %v, want %v", id, err, keyed)
				}
				other := topic.Key{Value: "k", Digest: [32]byte{2}}
				if _, err := l.Append(t.Context(), "b", draft128, other); !errors.Is(err, topic.ErrKeyReused) {
					t.Errorf("key reused: %v", err)
				}
				if _, err := l.Append(t.Context(), "ended", draft128, topic.Key{}); !errors.Is(err, topic.ErrEnded) {
					t.Errorf("append to an ended topic: %v", err)
				}
			}
			if id := appendText1(t, l, "a", "3"); id.Seq != end.Seq+1 || id.Epoch != end.Epoch {
				t.Errorf("next id %v after %v", id, end)
			}
			l.Close()
		})
	}
}

// A cursor that was told of losses keeps that, if the log was closed.
func TestReopenTold(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir(), Bounds: topic.Bounds{RetainEvents: 2}})
	start := topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}
	for i, name := range []string{"t/x", "t/y", "t/y", "t/y", "t/x", "t/y", "t/y"} {
		appendText1(t, l, name, strconv.Itoa(i))
	}
	read := func(after topic.Cursor) topic.Page {
		t.Helper()
		page, err := l.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "t/*")}, After: after}}, topic.Limit{Events: 1})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	page := read(start)
	if len(page.Gaps) != 1 || page.Gaps[0].Cursor.Told == 0 {
		t.Fatalf("page %+v, want one gap and a cursor that was told", page)
	}
	told := page.Gaps[0].Cursor
	l = reopen(t, l)
	if again := read(told); len(again.Gaps) != 0 || len(again.Entries) != 1 {
		t.Errorf("after Close: gaps %+v, %d entries", again.Gaps, len(again.Entries))
	}
	// Without a close nobody knows; then it is told again, and not silenced.
	l.Close()
	d, err := openDirectory(l.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	d.state.Clean, d.state.Boot = false, bootID()
	if err := errors.Join(d.save(), d.close()); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, &l.opts)
	defer l.Close()
	appendText1(t, l, "t/y", "7")
	if again := read(told); len(again.Gaps) != 1 {
		t.Errorf("after a further loss: gaps %+v, want one", again.Gaps)
	}
	if told.Epoch != l.End().Epoch {
		t.Error("the end of a process has begun an epoch")
	}
}

// An epoch begins when the system has gone down with the log, or when the log
// ends before what was seen of it. Older cursors stay good up to there.
func TestReopenEpoch(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	old := appendText1(t, l, "a", "1", "2")
	old.Seq++
	l.Close()
	d, err := openDirectory(l.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	d.state.Clean, d.state.Boot = false, "another"
	if err := errors.Join(d.save(), d.close()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time all was well
		l = openAt(t, &l.opts)
		if l.End() != old || !isKnown(t, l, topic.Cursor{ID: old}) {
			t.Errorf("end %v, want %v", l.End(), old)
		}
		if n := len(l.epochs); n != 2 {
			t.Errorf("%d epochs, want 2", n)
		}
		if isKnown(t, l, topic.Cursor{ID: topic.ID{Epoch: old.Epoch, Seq: old.Seq + 1}}) {
			t.Error("an id that may have been lost is known")
		}
		l.Close()
	}
	l = openAt(t, &l.opts)
	defer l.Close()
	id := appendText1(t, l, "a", "3")
	if id.Epoch == old.Epoch || id.Seq != old.Seq+1 {
		t.Errorf("id %v after %v, want another epoch", id, old)
	}
	lost := topic.Cursor{ID: topic.ID{Epoch: old.Epoch, Seq: id.Seq}}
	if isKnown(t, l, lost) {
		t.Errorf("%v is known", lost)
	}
	if data, gaps := readAll(t, l, topic.Cursor{ID: old}, "a"); fmt.Sprint(data) != "[3]" || gaps != 0 {
		t.Errorf("after %v: %v, %d gaps", old, data, gaps)
	}
	if data, gaps := readAll(t, l, lost, "a"); fmt.Sprint(data) != "[1 2 3]" || gaps != 1 {
		t.Errorf("after %v: %v, %d gaps", lost, data, gaps)
	}
}

// What cannot be used is said so.
func TestOpenErrors(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	if _, err := Open(t.Context(), &l.opts); !errors.Is(err, ErrLocked) {
		t.Errorf("second log of a directory: %v", err)
	}
	if err := l.store.(*stream).setMetadata(t.Context(), metaVersion, "2"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Open(t.Context(), &l.opts); !errors.Is(err, ErrVersion) {
		t.Errorf("a stream of another version: %v", err)
	}
	state := filepath.Join(l.opts.Dir, stateFile)
	for _, tt := range []struct {
		state string
		want  error
	}{
		{`{"version":2}`, ErrVersion},
		{`{}`, ErrVersion},
		{"", nil},
		{"{", nil},
	} {
		if err := os.WriteFile(state, []byte(tt.state), fileMode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), &l.opts); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("state %q: error %v, want %v", tt.state, err, tt.want)
		}
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), &l.opts); !errors.Is(err, ErrVersion) {
		t.Errorf("no state: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/duplex"} {
		if _, err := Open(t.Context(), &Options{Dir: dir}); err == nil {
			t.Errorf("data directory %s: no error", dir)
		}
	}
}

// A directory that was left in the middle of its making can be used.
func TestOpenHalfMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(d.file(serverFolder), directoryMode), d.close()); err != nil {
		t.Fatal(err)
	}
	l := openAt(t, &Options{Dir: dir})
	defer l.Close()
	appendText1(t, l, "a", "1")
}

// A damaged snapshot is not used.
func TestSnapshotDamaged(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	appendText1(t, l, "a", "1", "2")
	l.Close()
	file := filepath.Join(l.opts.Dir, snapshotFile)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		damaged := slices.Clone(b)
		damaged[i] ^= 1
		if x, err := index.Restore(damaged, &l.opts.Bounds); x != nil || err == nil {
			t.Fatalf("byte %d: %v, %v", i, x, err)
		}
	}
	if err := os.WriteFile(file, b[:len(b)/2], fileMode); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, &l.opts)
	defer l.Close()
	if data, gaps := readAll(t, l, topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}, "a"); fmt.Sprint(data) != "[1 2]" || gaps != 0 {
		t.Errorf("%v, %d gaps", data, gaps)
	}
}

// Other limits are those of what is there, too.
func TestReopenLimits(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	for i := range 10 {
		appendText1(t, l, "a", strconv.Itoa(i))
	}
	l.Close()
	opts := Options{Dir: l.opts.Dir, Bounds: topic.Bounds{RetainEvents: 2}}
	l = openAt(t, &opts)
	start := topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}}
	if data, gaps := readAll(t, l, start, "a"); fmt.Sprint(data) != "[8 9]" || gaps != 1 {
		t.Errorf("two are kept: %v, %d gaps", data, gaps)
	}
	l.Close()
	opts.RetainAge = time.Nanosecond
	l = openAt(t, &opts)
	defer l.Close()
	if data, gaps := readAll(t, l, start, "a"); len(data) != 0 || gaps != 1 {
		t.Errorf("none is kept: %v, %d gaps", data, gaps)
	}
}

// Open says how far it is.
func TestProgress(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	for range 3 {
		appendText1(t, l, "a", "x")
	}
	l.Close()
	if err := os.Remove(filepath.Join(l.opts.Dir, snapshotFile)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{3, 0} { // then there is a snapshot
		got := ""
		l = openAt(t, &Options{Dir: l.opts.Dir, Progress: func(read, of uint64) { got += fmt.Sprint(read, " of ", of) }})
		if got != fmt.Sprint(want, " of ", want) {
			t.Errorf("progress %q, want %d of %d", got, want, want)
		}
		l.Close()
	}
}
