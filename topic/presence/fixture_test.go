package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// A house is a recorder in a bubble, with a log that notes when it was told
// what.
type house struct {
	*Recorder
	topic.Log
	hub   *topic.Hub
	t     *testing.T
	began time.Time

	mu    sync.Mutex
	lines []string // guarded by mu
}

// bubble records the topics of room/*.
func bubble(t *testing.T, opts *Options, wrap func(topic.Log) topic.Log, f func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, began: time.Now()}
		h.Log = &watched{memlog.Open(nil), h.note}
		if wrap != nil {
			h.Log = wrap(h.Log)
		}
		h.hub = topic.NewHub(h.Log, nil)
		var o Options
		if opts != nil {
			o = *opts
		}
		o.Patterns = []topic.Pattern{pattern(t, "room/*")}
		var err error
		if h.Recorder, err = New(h.hub, &o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			h.Recorder.Close()
			h.hub.Close()
			if err := h.Log.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, h)
	})
}

// watched is a log that tells what it tells its watcher to another one before.
type watched struct {
	topic.Log
	note func([]*topic.Entry)
}

func (w *watched) Watch(f func([]*topic.Entry)) topic.ID {
	return w.Log.Watch(func(entries []*topic.Entry) {
		w.note(entries)
		f(entries)
	})
}

func pattern(t testing.TB, text string) topic.Pattern {
	t.Helper()
	p, err := topic.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type change struct{ Joins, Leaves []Member }

// note writes down events as "1s room/a +ada -bob".
func (h *house) note(entries []*topic.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range entries {
		var c change
		if err := json.Unmarshal(e.Data, &c); err != nil || e.Type != TypePresence || e.Kind != topic.JSON {
			h.t.Errorf("%+v: %v", e, err)
		}
		name, _ := Of(e.Topic)
		h.lines = append(h.lines, fmt.Sprint(time.Since(h.began), " ", name, c))
	}
}

func (c change) String() string {
	var b strings.Builder
	for sign, members := range map[string][]Member{"+": c.Joins, "-": c.Leaves} {
		if len(members) > 10 {
			fmt.Fprintf(&b, " %s%d", sign, len(members))
			continue
		}
		for _, m := range members {
			fmt.Fprintf(&b, " %s%s", sign, m.Member)
		}
	}
	words := strings.Fields(b.String())
	slices.Sort(words)
	return " " + strings.Join(words, " ")
}

// want compares what was announced since the last want.
func (h *house) want(lines ...string) {
	h.t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.lines, lines) {
		h.t.Errorf("after %v: got %q, want %q", time.Since(h.began), h.lines, lines)
	}
	h.lines = nil
}

// wantInAnyOrder is want for lines of several topics.
func (h *house) wantInAnyOrder(lines ...string) {
	h.t.Helper()
	synctest.Wait()
	h.mu.Lock()
	slices.Sort(h.lines)
	h.mu.Unlock()
	h.want(lines...)
}

// at lets a time come, counted from the beginning.
func (h *house) at(d time.Duration) {
	time.Sleep(time.Until(h.began.Add(d)))
	synctest.Wait()
}

// join opens a connection of a member.
func (h *house) join(name, member string) *Visit {
	h.t.Helper()
	v := h.Visit(member)
	if err := v.Join(name); err != nil {
		h.t.Fatal(err)
	}
	return v
}

// wantMembers compares the whole table of a topic.
func (h *house) wantMembers(name string, members ...string) {
	h.t.Helper()
	synctest.Wait()
	if s := h.Snapshot(name, "", 1000); !slices.Equal(s.Members, members) || s.Count != len(members) || s.More {
		h.t.Errorf("after %v: %+v, want %q", time.Since(h.began), s, members)
	}
}

// wantEmpty wants nothing to be left of anybody.
func (r *Recorder) wantEmpty(t *testing.T) {
	t.Helper()
	left := 0 // but for those that cool
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.topics {
		if t.until == 0 || !t.members.empty() {
			left++
		}
	}
	if left > 0 || r.members > 0 || r.away.Len() > 0 || len(r.due) > 0 || len(r.others) > 0 {
		t.Errorf("left: %d topics, %d members, %d in their grace, %d to announce", left, r.members, r.away.Len(), len(r.due))
	}
}

// A gate is a log whose appends wait, or fail.
type gate struct {
	topic.Log
	pass    chan error // what each append is told first
	refuses atomic.Bool
}

// of puts the gate before a log, in the log's bubble.
func (g *gate) of(log topic.Log) topic.Log {
	g.Log, g.pass = log, make(chan error)
	return g
}

func (g *gate) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	if g.refuses.Load() {
		return topic.ID{}, errors.New("the disk is full")
	}
	select {
	case err := <-g.pass:
		if err != nil {
			return topic.ID{}, err
		}
	case <-ctx.Done():
		return topic.ID{}, context.Cause(ctx)
	}
	return g.Log.Append(ctx, name, drafts, key)
}

// A journal keeps what is logged while the test reads it.
type journal struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
