package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// TypePresence is the type of the events that tell of joins and leaves.
const TypePresence = "presence"

// run announces changes, and sees to what comes with time.
func (r *Recorder) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-r.ctx.Done():
			return
		}
		if r.isBehind() {
			r.start()
		}
		r.letGo(time.Now())
		if r.shared {
			r.attend(time.Now())
		}
		r.announce(r.ctx, r.takeDue(time.Now()))
		if wait, ok := r.wait(time.Now()); ok {
			timer.Reset(wait)
		}
	}
}

func (r *Recorder) isBehind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.behind
}

// letGo ends the graces that are over.
func (r *Recorder) letGo(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.away.Front(); e != nil && e.Value.(*member).until <= now.UnixNano(); e = r.away.Front() {
		m := r.away.Remove(e).(*member)
		m.away = nil
		r.change(m)
	}
}

// change notes a member of whom there may be something to announce. mu is held.
func (r *Recorder) change(m *member) {
	if m.changed {
		return
	}
	if !r.differs(m) {
		r.tidy(m)
		return
	}
	m.changed = true
	t := m.topic
	if t.changed = append(t.changed, m); len(t.changed) == 1 && t.until == 0 {
		r.due = append(r.due, t)
		r.rouse()
	}
}

// differs reports whether the log does not say of a member what is so. That
// nobody holds one who is announced may be for another node to tell. mu is held.
func (r *Recorder) differs(m *member) bool {
	here := m.present()
	return here != r.holds(r.nodes.self.slot, m) || here && !m.announced || m.holder == 0 && m.announced
}

func (r *Recorder) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// takeDue returns the topics to announce now. They cool from now on.
func (r *Recorder) takeDue(now time.Time) (due []*attendance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.cooling) > 0 && r.cooling[0].until <= now.UnixNano() {
		t := r.cooling[0]
		r.cooling = r.cooling[1:]
		t.until = 0
		if len(t.changed) > 0 {
			r.due = append(r.due, t)
		} else {
			r.tidyTopic(t)
		}
	}
	if now.Before(r.retry) || !r.speaks() || !r.nodes.self.gone.IsZero() { // who is gone tells nothing: attend makes it another node first
		return nil
	}
	due, r.due = r.due, nil
	for _, t := range due {
		t.until = now.Add(interval).UnixNano()
	}
	r.cooling = append(r.cooling, due...)
	return due
}

// wait returns how long nothing is due, unless something happens.
func (r *Recorder) wait(now time.Time) (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := func(d time.Duration) {
		if !ok || d < wait {
			wait, ok = d, true
		}
	}
	if e := r.away.Front(); e != nil {
		until(time.Unix(0, e.Value.(*member).until).Sub(now))
	}
	if r.speaks() {
		if len(r.cooling) > 0 {
			until(time.Unix(0, r.cooling[0].until).Sub(now))
		}
		if len(r.due) > 0 {
			until(r.retry.Sub(now))
		}
	}
	if r.shared {
		r.nodes.until(r.stay(), func(t time.Time) { until(t.Sub(now)) })
	}
	return max(wait, 0), ok
}

// An announcement is an event in the making. Only those who read the log with
// this one are told of takes and frees.
type announcement struct {
	topic         *attendance
	joins, leaves []*member
	takes, frees  []*member
	seen          topic.ID // up to where the log was known
	node          string   // that tells it; "" if there is no other
}

// collect makes of what has changed on a topic what is to be announced.
func (r *Recorder) collect(t *attendance) announcement {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := announcement{topic: t, seen: *r.seen.Load()}
	if r.shared {
		a.node = r.nodes.self.name
	}
	changed := t.changed
	t.changed = nil
	for _, m := range changed {
		here, held := m.present(), r.holds(r.nodes.self.slot, m)
		switch {
		case here && !m.announced:
			a.joins = append(a.joins, m)
		case here && !held:
			a.takes = append(a.takes, m)
		case here && held: // it has come back
			m.changed = false
		case m.announced && (m.holder == 0 || held && len(r.others[m]) == 0):
			a.leaves = append(a.leaves, m)
		case held:
			a.frees = append(a.frees, m)
		default: // it came and went, and nobody was told
			m.changed = false
			r.tidy(m)
		}
	}
	return a
}

// announce tells of all that has changed on the topics. What the log does not
// take is tried again later.
func (r *Recorder) announce(ctx context.Context, due []*attendance) {
	if len(due) == 0 {
		return
	}
	var quiet []announcement
	var appends sync.WaitGroup
	var failed failure
	places := make(chan struct{}, appendsAtOnce)
	for _, t := range due {
		a := r.collect(t)
		if len(a.takes)+len(a.frees) > 0 {
			quiet = append(quiet, a)
		}
		if len(a.joins)+len(a.leaves) == 0 {
			continue
		}
		places <- struct{}{}
		appends.Go(func() { // joined below
			defer func() { <-places }()
			failed.note(r.publish(ctx, a))
			r.settle(a.joins, a.leaves)
		})
	}
	appends.Wait()
	if len(quiet) > 0 {
		failed.note(r.tellNodes(ctx, quiet))
		for _, a := range quiet {
			r.settle(a.takes, a.frees)
		}
	}
	if failed.err == nil {
		return
	}
	r.mu.Lock()
	r.retry = time.Now().Add(retryAfter)
	r.mu.Unlock()
	if r.ctx.Err() == nil && !errors.Is(failed.err, topic.ErrClosed) {
		r.logger.Error("presence is not announced", "topics", failed.times, "error", failed.err)
	}
}

// failure is the first of several errors. That the log was overtaken is none: then
// what is to be told may be another thing now.
type failure struct {
	mu    sync.Mutex
	err   error
	times int
}

func (f *failure) note(err error) {
	if err == nil || errors.Is(err, topic.ErrUnseen) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.times++
	if f.err == nil {
		f.err = err
	}
}

// settle is for members of whom the log was told, or not: what it says of them
// now may not be so, still or again. mu is not held.
func (r *Recorder) settle(lists ...[]*member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range lists {
		for _, m := range list {
			m.changed = false
			r.change(m)
		}
	}
}

// publish appends joins and leaves, in as many events as that takes, if nobody
// else has told of the topic meanwhile.
func (r *Recorder) publish(ctx context.Context, a announcement) error {
	for seen := a.seen; len(a.joins)+len(a.leaves) > 0; {
		joins := a.joins[:min(len(a.joins), maxChanges)]
		leaves := a.leaves[:min(len(a.leaves), maxChanges-len(joins))]
		id, err := r.append(ctx, Prefix+a.topic.topic, a.data(joins, leaves), seen)
		if err != nil {
			return err
		}
		a.joins, a.leaves, seen = a.joins[len(joins):], a.leaves[len(leaves):], id
	}
	return nil
}

// A Member is one as clients are told of it.
type Member struct {
	Member   string `json:"member"`
	Verified bool   `json:"verified"` // by a token; nobody is so far
}

// told is the data of an event.
type told struct {
	Joins  []Member `json:"joins"`
	Leaves []Member `json:"leaves"`
	Node   string   `json:"node,omitempty"` // whose members they are
}

func (a *announcement) data(joins, leaves []*member) []byte {
	list := func(members []*member) []Member {
		l := make([]Member, len(members))
		for i, m := range members {
			l[i].Member = m.name
		}
		return l
	}
	return encode(told{Joins: list(joins), Leaves: list(leaves), Node: a.node})
}

// encode gives JSON without escapes that it does not need.
func encode(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // it gets strings and numbers only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
