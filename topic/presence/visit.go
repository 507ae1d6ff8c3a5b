package presence

import (
	"slices"
	"strings"
	"time"
)

// A Visit is one connection, which may be on several topics. End must be
// called. A nil *Visit is on none.
type Visit struct {
	recorder *Recorder
	member   string    // "" until it needs a name
	stays    []*member // guarded by the recorder's mu
	ended    bool      // guarded by the recorder's mu
}

// Visit returns the visit of a connection, whose member is called so; "" is a
// member of its own, which leaves with the connection. It is nil if nothing is
// recorded.
func (r *Recorder) Visit(member string) *Visit {
	if r == nil {
		return nil
	}
	return &Visit{recorder: r, member: member}
}

// Join puts the connection on a topic, once. It does nothing if the topic is
// not recorded or the visit has ended. The error is ErrTooManyMembers.
func (v *Visit) Join(name string) error {
	if v == nil || !v.recorder.Records(name) {
		return nil
	}
	r := v.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.ended || v.stay(name) >= 0 {
		return nil
	}
	called := v.member
	if called == "" {
		called = makeName()
	}
	m, err := r.member(name, called)
	if err != nil {
		return err
	}
	v.member = m.name
	v.stays = append(v.stays, m)
	m.connections++
	r.returned(m)
	return nil
}

// Leave takes the connection from a topic, if it is there.
func (v *Visit) Leave(name string) {
	if v == nil {
		return
	}
	v.recorder.mu.Lock()
	defer v.recorder.mu.Unlock()
	if i := v.stay(name); i >= 0 {
		v.recorder.left(v.stays[i])
		v.stays = slices.Delete(v.stays, i, i+1)
	}
}

// End takes the connection from all topics. It may be called again.
func (v *Visit) End() {
	if v == nil {
		return
	}
	v.recorder.mu.Lock()
	defer v.recorder.mu.Unlock()
	for _, m := range v.stays {
		v.recorder.left(m)
	}
	v.stays, v.ended = nil, true
}

// stay is the index of a topic; -1 if the connection is not there.
func (v *Visit) stay(name string) int {
	return slices.IndexFunc(v.stays, func(m *member) bool { return m.topic.topic == name })
}

// member returns a member of a topic, made if there is none. mu is held.
func (r *Recorder) member(name, called string) (*member, error) {
	if m := r.get(name, called); m != nil {
		return m, nil
	}
	if r.maxMembers > 0 && r.members >= r.maxMembers {
		return nil, ErrTooManyMembers
	}
	return r.make(name, called), nil
}

// returned is for a member that has one connection more. mu is held.
func (r *Recorder) returned(m *member) {
	if m.away != nil {
		r.away.Remove(m.away)
		m.away = nil
	}
	r.change(m)
}

// left is for a member that has one connection less. mu is held.
func (r *Recorder) left(m *member) {
	if m.connections--; m.connections > 0 {
		return
	}
	if r.grace == 0 || strings.HasPrefix(m.name, own) {
		r.change(m)
		return
	}
	m.until = time.Now().Add(r.stay()).UnixNano()
	m.away = r.away.PushBack(m) // the grace of all is equally long
	if r.away.Len() == 1 {
		r.rouse()
	}
}

// stay is how long this node holds a member that has no connection. Another one,
// to which it may come at the end of its grace, needs a moment to tell of it.
func (r *Recorder) stay() time.Duration {
	if r.shared {
		return r.grace + handover
	}
	return r.grace
}

// handover is what a node needs to tell whom it holds, and some.
const handover = 3 * interval
