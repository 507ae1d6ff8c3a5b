package presence

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// TypePresence is the type of the events that tell of joins and leaves.
const TypePresence = "presence"

// run announces changes, and sees to the ends of graces.
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
		for due := r.due(time.Now()); len(due) > 0; due = due[1:] {
			if !r.announce(due[0]) {
				r.postpone(due[1:])
				break
			}
		}
		if wait, ok := r.wait(time.Now()); ok {
			timer.Reset(wait)
		}
	}
}

// due ends the graces that are over, and returns the topics to announce now.
func (r *Recorder) due(now time.Time) []*attendance {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.away.Front(); e != nil && e.Value.(*member).until <= now.UnixNano(); e = r.away.Front() {
		m := r.away.Remove(e).(*member)
		m.away = nil
		r.change(m)
	}
	if len(r.changed) == 0 || now.Before(r.next) {
		return nil
	}
	due := r.changed
	r.changed, r.next = nil, now.Add(interval)
	return due
}

// wait returns how long nothing is due, unless something happens.
func (r *Recorder) wait(now time.Time) (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.away.Front(); e != nil {
		wait, ok = time.Unix(0, e.Value.(*member).until).Sub(now), true
	}
	if len(r.changed) > 0 {
		if next := r.next.Sub(now); !ok || next < wait {
			wait, ok = next, true
		}
	}
	return max(wait, 0), ok
}

// postpone is for topics that are announced with the next turn.
func (r *Recorder) postpone(topics []*attendance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = append(r.changed, topics...)
}

// An announcement is an event in the making.
type announcement struct {
	topic         *attendance
	joins, leaves []*member
}

// announce tells of all that has changed on a topic, in as many events as that
// takes. It reports false if the log has not taken them, and tries again later.
func (r *Recorder) announce(t *attendance) (announced bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.tidy(t)
	changed := t.changed
	t.changed = nil
	for _, m := range changed {
		m.changed = false
	}
	for len(changed) > 0 {
		a := announcement{topic: t}
		for len(changed) > 0 && len(a.joins)+len(a.leaves) < maxChanges {
			m := changed[0]
			changed = changed[1:]
			switch {
			case m.present() && !m.announced:
				a.joins = append(a.joins, m)
			case !m.present() && m.announced:
				a.leaves = append(a.leaves, m)
			case !m.present():
				r.forget(m) // it came and went, and nobody was told
			}
		}
		if len(a.joins)+len(a.leaves) == 0 {
			return true
		}
		if err := r.append(&a); err != nil {
			for _, m := range append(append(a.joins, a.leaves...), changed...) {
				r.change(m)
			}
			r.next = time.Now().Add(retryAfter)
			if r.ctx.Err() == nil && !errors.Is(err, topic.ErrClosed) {
				r.logger.Error("presence is not announced", "topic", t.topic, "error", err)
			}
			return false
		}
		a.apply(r)
	}
	return true
}

// append appends the event. mu is held, but for the time that the log takes.
func (r *Recorder) append(a *announcement) error {
	a.topic.before = r.log.End()
	r.mu.Unlock()
	draft := topic.Draft{Type: TypePresence, Media: "application/json", Kind: topic.JSON, Data: a.data()}
	_, err := r.log.Append(r.ctx, Prefix+a.topic.topic, []topic.Draft{draft}, topic.Key{})
	r.mu.Lock()
	a.topic.before = topic.ID{}
	return err
}

// apply puts into the table what the event has told. Meanwhile some may have
// gone, who are then among those that have changed, or come back.
func (a *announcement) apply(r *Recorder) {
	for _, m := range a.joins {
		m.announced = true
	}
	for _, m := range a.leaves {
		m.announced = false
		if m.present() {
			r.change(m)
		} else {
			r.forget(m)
		}
	}
	a.topic.announced += len(a.joins) - len(a.leaves)
}

// forget removes a member that is not there, unless it is to be looked at
// again. mu is held.
func (r *Recorder) forget(m *member) {
	if !m.changed {
		m.topic.members.remove(m.name)
		r.members--
	}
}

// tidy removes a table that is empty. mu is held.
func (r *Recorder) tidy(t *attendance) {
	if t.members.empty() {
		delete(r.topics, t.topic)
	}
}

// A Member is one as clients are told of it.
type Member struct {
	Member   string `json:"member"`
	Verified bool   `json:"verified"` // by a token; nobody is so far
}

// data is the data of the event.
func (a *announcement) data() []byte {
	list := func(members []*member) []Member {
		l := make([]Member, len(members))
		for i, m := range members {
			l[i].Member = m.name
		}
		return l
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Joins  []Member `json:"joins"`
		Leaves []Member `json:"leaves"`
	}{list(a.joins), list(a.leaves)})
	if err != nil {
		panic(err) // it gets strings only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
