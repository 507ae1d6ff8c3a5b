package presence

import (
	"maps"
	"slices"
)

// answer tells those who have asked what the table says. Only one node does, the
// oldest: all have the same.
func (r *Recorder) answer() {
	r.mu.Lock()
	asked := r.nodes.asked
	tables := slices.Collect(maps.Values(r.topics))
	r.mu.Unlock()
	var d draft
	for _, t := range tables {
		for from, more := "", true; more; {
			from, more = r.addAfter(&d, t, from)
			if d.bytes >= noteBytes && r.send(r.ctx, &d) != nil {
				return // with the next beat it is tried again
			}
		}
	}
	r.mu.Lock()
	r.isOf(&d)
	d.Answers, d.Began = asked, r.began.String()
	r.mu.Unlock()
	if r.send(r.ctx, &d) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes.asked == asked {
		r.nodes.asked = 0
	}
}

// addAfter adds some members of a topic to an answer, and reports whether there
// may be more after the last.
func (r *Recorder) addAfter(d *draft, t *attendance, name string) (last string, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isOf(d)
	for m := range t.members.after(name) {
		if !m.announced && m.holder == 0 {
			continue
		}
		left := false
		for _, s := range append([]slot{m.holder}, r.others[m]...) {
			if s == 0 || !r.nodes.slots[s].gone.IsZero() {
				left = true
			} else {
				d.addHolder(r.nodes.slots[s].name, m)
			}
		}
		if left {
			d.addHolder(departed, m)
		}
		if !m.announced {
			d.add(&d.Untold, t.topic, m.name)
		}
		if d.bytes >= noteBytes {
			return m.name, true
		}
	}
	return "", false
}

// isOf notes from when a part of the table is. mu is held.
func (r *Recorder) isOf(d *draft) {
	if d.At == 0 {
		d.At = r.seen.Load().Seq
	}
}
