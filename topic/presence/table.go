package presence

import (
	"container/list"
	"slices"
	"strings"
)

// table is who is on which topic, as the log says, and who has a connection
// here. Its recorder's mu guards all of it.
type table struct {
	topics  map[string]*attendance // those with members, and those that are cooling
	members int                    // of all topics
	// others are the holders of a member beyond the first, of the few that have
	// some.
	others map[*member][]slot
}

func newTable() table {
	return table{topics: make(map[string]*attendance), others: make(map[*member][]slot)}
}

// attendance is what is known of one topic.
type attendance struct {
	topic     string
	members   roll
	announced int       // how many of them are
	changed   []*member // each once
	until     int64     // it is cooling; Unix nanoseconds; 0 if it is not
}

// member is one on one topic.
type member struct {
	name        string
	topic       *attendance
	away        *list.Element // nil unless it is in its grace
	until       int64         // the end of its grace; Unix nanoseconds
	connections int32         // that it has here
	holder      slot          // a node that holds it, as the log says; 0 if none does
	announced   bool          // as the log says
	changed     bool          // it is in the topic's list of those, or being announced
}

// A slot is a node's place in nodes.slots.
type slot uint16

// present reports whether this node is to hold the member.
func (m *member) present() bool { return m.connections > 0 || m.away != nil }

// get returns a member of a topic; nil if it is not there.
func (t *table) get(name, called string) *member {
	if a := t.topics[name]; a != nil {
		return a.members.get(called)
	}
	return nil
}

// make makes a member that is not there.
func (t *table) make(name, called string) *member {
	a := t.topics[name]
	if a == nil {
		name = strings.Clone(name) // it may be part of something large
		a = &attendance{topic: name}
		t.topics[name] = a
	}
	m := &member{name: strings.Clone(called), topic: a}
	a.members.add(m)
	t.members++
	return m
}

func (t *table) getOrMake(name, called string) *member {
	if m := t.get(name, called); m != nil {
		return m
	}
	return t.make(name, called)
}

// tidy removes a member of whom there is nothing to know, and a topic like that.
func (t *table) tidy(m *member) {
	if m.present() || m.holder != 0 || m.announced || m.changed {
		return
	}
	a := m.topic
	a.members.remove(m.name)
	t.members--
	t.tidyTopic(a)
}

func (t *table) tidyTopic(a *attendance) {
	if a.members.empty() && a.until == 0 {
		delete(t.topics, a.topic)
	}
}

// announce notes what the log has told.
func (m *member) announce(there bool) {
	if m.announced == there {
		return
	}
	m.announced = there
	if there {
		m.topic.announced++
	} else {
		m.topic.announced--
	}
}

// holds reports whether the node holds the member, as the log says.
func (t *table) holds(s slot, m *member) bool {
	return m.holder == s || len(t.others) > 0 && slices.Contains(t.others[m], s)
}

// hold notes that it does.
func (t *table) hold(s slot, m *member) {
	switch {
	case m.holder == 0:
		m.holder = s
	case !t.holds(s, m):
		t.others[m] = append(t.others[m], s)
	}
}

// release notes that it does not.
func (t *table) release(s slot, m *member) {
	others := t.others[m]
	if m.holder == s {
		m.holder = 0
		if len(others) > 0 {
			m.holder, others = others[0], others[1:]
		}
	} else if i := slices.Index(others, s); i >= 0 {
		others = slices.Delete(others, i, i+1)
	} else {
		return
	}
	if len(others) > 0 {
		t.others[m] = others
	} else if len(t.others) > 0 {
		delete(t.others, m)
	}
}
