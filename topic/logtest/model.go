package logtest

import (
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// model is a log as simple as can be: a list of all that was ever appended.
type model struct {
	opts      Options
	records   []*record
	losses    int // how many there were: the model's loss clock
	forgotten loss
}

type record struct {
	id    topic.ID
	topic string
	typ   string
	data  string
	end   bool
	taken time.Time
	lost  int // the number of its loss

	passing    bool // not kept
	superseded bool // removed, and not lost
}

// kept reports whether the record is retained.
func (r *record) kept() bool { return r.lost == 0 && !r.passing && !r.superseded }

// event is what a rule looks at.
func (r *record) event() *topic.Event { return &topic.Event{Type: r.typ} }

// loss is a lost event and the number of its loss.
type loss struct {
	seq    uint64
	number int
}

// position is how far a reader has come in the model: it was given everything
// up to seq and told of the first losses. The model has no cursors.
type position struct {
	seq  uint64
	told int
}

func (p position) misses(x loss) bool { return x.seq > p.seq && x.number > p.told }

func (m *model) append(name string, first topic.ID, drafts []topic.Draft, now time.Time) {
	rule := m.opts.Rules.Of(name)
	for i, d := range drafts {
		id := topic.ID{Epoch: first.Epoch, Seq: first.Seq + uint64(i)}
		m.records = append(m.records, &record{
			id: id, topic: name, typ: d.Type, data: string(d.Data), taken: now,
			end: d.IsEnd(), passing: rule.Ephemeral() && !d.IsEnd(),
		})
		most := m.opts.RetainEvents
		if n := rule.RetainEvents; n != nil && (most == 0 || *n < most) {
			most = *n
		}
		events := slices.DeleteFunc(m.select1(name), func(r *record) bool { return r.end })
		if most > 0 && len(events) > most {
			m.remove(events[0])
		}
	}
}

// expire removes what is over age.
func (m *model) expire(now time.Time) {
	for _, r := range m.records {
		age := m.opts.RetainAge
		if a := m.opts.Rules.Of(r.topic).RetainAge; a > 0 && (age == 0 || a < age) {
			age = a
		}
		if age > 0 && r.kept() && now.Sub(r.taken) >= age {
			m.remove(r)
		}
	}
}

// remove loses the record, if no other that is kept supersedes it.
func (m *model) remove(r *record) {
	for _, later := range m.select1(r.topic) {
		if later.id.Seq > r.id.Seq && m.opts.Rules.Of(r.topic).Supersedes(later.event(), r.event()) {
			r.superseded = true
			return
		}
	}
	m.losses++
	r.lost = m.losses
	if len(m.select1(r.topic)) == 0 {
		m.forgotten = loss{max(m.forgotten.seq, r.id.Seq), m.losses}
	}
}

// select1 returns the retained records of one topic.
func (m *model) select1(name string) []*record {
	return m.retained(func(r *record) bool { return r.topic == name })
}

func (m *model) retained(f func(*record) bool) []*record {
	var list []*record
	for _, r := range m.records {
		if r.kept() && f(r) {
			list = append(list, r)
		}
	}
	return list
}

func (m *model) ended(name string) bool {
	return len(m.retained(func(r *record) bool { return r.end && r.topic == name })) > 0
}

// must reports whether a reader of the patterns misses an event that was lost.
func (m *model) must(patterns []topic.Pattern, at position) bool {
	return slices.ContainsFunc(m.records, func(r *record) bool {
		return r.lost > 0 && matches(patterns, r.topic) && at.misses(loss{r.id.Seq, r.lost})
	})
}

// may reports whether the log may have forgotten that the reader misses none.
func (m *model) may(at position) bool { return at.misses(m.forgotten) }

// oldest returns the id of the first retained entry after seq.
func (m *model) oldest(patterns []topic.Pattern, seq uint64) topic.ID {
	list := m.retained(func(r *record) bool { return r.id.Seq > seq && matches(patterns, r.topic) })
	if len(list) == 0 {
		return topic.ID{}
	}
	return list[0].id
}

func (m *model) end() uint64 {
	if len(m.records) == 0 {
		return 0
	}
	return m.records[len(m.records)-1].id.Seq
}

func matches(patterns []topic.Pattern, name string) bool {
	return slices.ContainsFunc(patterns, func(p topic.Pattern) bool { return p.Match(name) })
}

// data gives the records as show gives entries.
func data(records []*record) []string {
	list := []string{}
	for _, r := range records {
		if r.end {
			list = append(list, topic.TypeEnd+" "+r.topic)
		} else {
			list = append(list, r.data)
		}
	}
	return list
}
