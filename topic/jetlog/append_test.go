package jetlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// gate holds back what is published.
type gate struct {
	l     *Log
	store *fakeStore
	open  chan error
	wg    sync.WaitGroup
}

// newGate makes a log whose store answers when it is told to. It must be called
// in a bubble.
func newGate(t *testing.T, opts Options) *gate {
	g := &gate{store: newFakeStore(), open: make(chan error)}
	g.store.answer = func() error { return <-g.open }
	g.l = openFake(&opts, g.store)
	t.Cleanup(func() {
		g.wg.Wait()
		g.l.Close()
	})
	return g
}

// append appends, and waits until it is in the queue.
func (g *gate) append(ctx context.Context, name string, key topic.Key, data ...string) *pending {
	var drafts []topic.Draft
	for _, s := range data {
		d := topic.Draft{Data: []byte(s)}
		if s == topic.TypeEnd {
			d = topic.EndDraft()
		}
		drafts = append(drafts, d)
	}
	outcome := new(pending)
	g.wg.Go(func() { outcome.id, outcome.err = g.l.Append(ctx, name, drafts, key) })
	synctest.Wait()
	return outcome
}

// answer lets one message through.
func (g *gate) answer(err error) {
	g.open <- err
	synctest.Wait()
}

// Appends that come while another is on its way are one message: as if they had
// come one after the other.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Options{Bounds: topic.Bounds{MaxTopics: 4, MaxKeys: 2}})
		g.l.subjects = true
		ctx := t.Context()
		k1, k2, k3 := topic.Key{Value: "1"}, topic.Key{Value: "2"}, topic.Key{Value: "3"}
		other := topic.Key{Value: "1", Digest: [32]byte{1}}
		first := g.append(ctx, "a", topic.Key{}, "0")
		type want struct {
			p   *pending
			seq uint64
			err error
		}
		var wants []want
		add := func(seq uint64, err error, name string, key topic.Key, data ...string) {
			wants = append(wants, want{g.append(ctx, name, key, data...), seq, err})
		}
		add(2, nil, "a", topic.Key{}, "1", "2")
		add(4, nil, "b", k1, "3")
		add(4, nil, "b", k1, "3")
		add(0, topic.ErrKeyReused, "b", other, "x")
		add(5, nil, "c", k2, "4", topic.TypeEnd)
		add(0, topic.ErrEnded, "c", topic.Key{}, "x")
		add(5, nil, "c", k2, "4", topic.TypeEnd)
		add(0, topic.ErrTooManyKeys, "a", k3, "x")
		add(7, nil, "d", topic.Key{}, topic.TypeEnd)
		add(0, topic.ErrEnded, "d", topic.Key{}, topic.TypeEnd)
		add(0, topic.ErrTooManyTopics, "e", topic.Key{}, "x")
		add(8, nil, "a", topic.Key{}, "5")
		g.answer(nil)
		if first.id.Seq != 1 || first.err != nil {
			t.Errorf("first: %v, %v", first.id, first.err)
		}
		g.answer(nil)
		g.wg.Wait()
		for i, w := range wants {
			if w.p.id.Seq != w.seq || !errors.Is(w.p.err, w.err) {
				t.Errorf("append %d: %v, %v, want %d, %v", i, w.p.id, w.p.err, w.seq, w.err)
			}
		}
		if got := fmt.Sprint(g.store.subjects); got != "[duplex.topic.a duplex.group]" {
			t.Errorf("messages: %v", got)
		}
		start := topic.Cursor{ID: topic.ID{Epoch: g.l.epochs[0].Number}}
		if data, _ := readAll(t, g.l, start, "**"); fmt.Sprint(data) != "[0 1 2 3 4 $end $end 5]" {
			t.Errorf("in the log: %v", data)
		}
	})
}

// A message is bounded, unless one append is larger.
func TestGroupBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Options{})
		g.append(t.Context(), "a", topic.Key{}, "0")
		for range groupAppends + 1 {
			g.append(t.Context(), "a", topic.Key{}, "1")
		}
		large := strings.Repeat("x", groupBytes-1)
		g.append(t.Context(), "a", topic.Key{}, large+large)
		g.append(t.Context(), "a", topic.Key{}, large)
		g.append(t.Context(), "a", topic.Key{}, "22")
		for range 6 {
			g.answer(nil)
		}
		g.wg.Wait()
		var got []int
		for _, b := range g.store.messages {
			m := message.Read(b)
			var a message.Append
			n := 0
			for m.Next(&a) {
				n++
			}
			got = append(got, n)
		}
		if fmt.Sprint(got) != fmt.Sprint([]int{1, groupAppends, 1, 1, 1, 1}) {
			t.Errorf("appends by message: %v", got)
		}
	})
}

// Who gives up returns at once. If the append has not begun, it never does.
func TestAppendContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Options{})
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		leader := g.append(ctx, "a", topic.Key{}, "leads")
		waiting := g.append(ctx, "a", topic.Key{}, "waits")
		next := g.append(t.Context(), "a", topic.Key{}, "next")
		cancel(why)
		synctest.Wait()
		if waiting.err != why {
			t.Errorf("who waits: %v", waiting.err)
		}
		g.answer(nil)
		g.answer(nil)
		g.wg.Wait()
		if leader.err != nil || next.err != nil || leader.id.Seq != 1 || next.id.Seq != 2 {
			t.Errorf("others: %+v, %+v", leader, next)
		}
		if len(g.l.queue.waiting) > 0 || g.l.queue.busy {
			t.Error("the queue is not empty")
		}
	})
}

// What the store refuses is not in the log, and the log goes on.
func TestNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Options{})
		watched := 0
		g.l.Watch(func(entries []*topic.Entry) { watched += len(entries) })
		key := topic.Key{Value: "k"}
		p := g.append(t.Context(), "a", key, "1", topic.TypeEnd)
		g.answer(fmt.Errorf("%w: too large", errNotStored))
		g.wg.Wait()
		if !errors.Is(p.err, errNotStored) || g.l.End().Seq != 0 || watched > 0 {
			t.Errorf("error %v, end %v, watched %d", p.err, g.l.End(), watched)
		}
		p = g.append(t.Context(), "a", key, "1")
		g.answer(nil)
		g.wg.Wait()
		if p.err != nil || p.id.Seq != 1 || watched != 1 {
			t.Errorf("again: %v, %v, watched %d", p.id, p.err, watched)
		}
	})
}

// If the store does not say whether it has stored something, nothing more is
// appended; what was there can be read.
func TestFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Options{})
		g.append(t.Context(), "a", topic.Key{}, "1")
		g.answer(nil)
		lost := errors.New("nobody knows")
		p := g.append(t.Context(), "a", topic.Key{}, "2")
		waiting := g.append(t.Context(), "a", topic.Key{}, "3")
		g.answer(lost)
		g.wg.Wait()
		for _, p := range []*pending{p, waiting, g.append(t.Context(), "b", topic.Key{}, "4")} {
			if !errors.Is(p.err, ErrFailed) || !errors.Is(p.err, lost) {
				t.Errorf("error %v", p.err)
			}
		}
		start := topic.Cursor{ID: topic.ID{Epoch: g.l.epochs[0].Number}}
		if data, _ := readAll(t, g.l, start, "a"); fmt.Sprint(data) != "[1]" {
			t.Errorf("in the log: %v", data)
		}
	})
}

// Close waits for what is on its way, and refuses what comes.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Options{})
		p := g.append(t.Context(), "a", topic.Key{}, "1")
		closed := false
		g.wg.Go(func() {
			g.l.Close()
			closed = true
		})
		synctest.Wait()
		late := g.append(t.Context(), "a", topic.Key{}, "2")
		if closed || !errors.Is(late.err, topic.ErrClosed) {
			t.Errorf("closed %v, error %v", closed, late.err)
		}
		g.answer(nil)
		g.wg.Wait()
		if p.err != nil || !closed {
			t.Errorf("error %v, closed %v", p.err, closed)
		}
	})
}

func TestAppendRefused(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir()})
	defer l.Close()
	if _, err := l.Append(t.Context(), "a", nil, topic.Key{}); err == nil {
		t.Error("an append of nothing has no error")
	}
	drafts := []topic.Draft{{Data: make([]byte, MaxAppendBytes)}}
	if _, err := l.Append(t.Context(), "a", drafts, topic.Key{}); !errors.Is(err, errNotStored) {
		t.Errorf("an append that is too large: %v", err)
	}
	drafts[0].Data = drafts[0].Data[:MaxAppendBytes-100]
	if id, err := l.Append(t.Context(), "a", drafts, topic.Key{}); err != nil || id.Seq != 1 {
		t.Errorf("the largest append: %v, %v", id, err)
	}
	l.Close()
	l = openAt(t, &Options{Dir: l.opts.Dir})
	page, err := l.Newest(t.Context(), []topic.Pattern{pattern1(t, "a")}, topic.Limit{Events: 1})
	if err != nil || len(page.Entries) != 1 || len(page.Entries[0].Data) != len(drafts[0].Data) {
		t.Errorf("read: %d entries, %v", len(page.Entries), err)
	}
}
