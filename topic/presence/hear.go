package presence

import (
	"maps"
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// News are what an entry of the log says of members.
type news struct {
	seq  uint64
	fold func() // puts it into the table; again, it changes nothing
}

// hear is fold for a note. mu is held.
func (r *Recorder) hear(name string, id topic.ID, n *note) {
	from := r.nodes.get(name)
	if n.Gone {
		if from.gone.IsZero() {
			from.gone = time.Now()
			r.rouse()
		}
		r.complete()
		return
	}
	from.heard, from.asks = true, n.Asks
	switch {
	case n.Hello:
		from.since = id.Seq
		if from != r.nodes.self && n.Asks {
			r.nodes.asked = max(r.nodes.asked, id.Seq)
		}
		if from == r.nodes.self && !r.isReady() {
			r.forgetAll() // all that counts is told from here on
			r.nodes.recent = nil
		}
		r.rouse()
	case n.Since > 0 && from != r.nodes.self:
		from.since = n.Since
	}
	if n.Anew {
		r.began = id
		r.forgetAll()
		r.whole() // from here on, all is told
	}
	if n.Answers >= r.nodes.asked {
		r.nodes.asked = 0
	}
	if !r.isReady() && n.At > 0 {
		r.learn(n)
	}
	if len(n.Takes)+len(n.Frees) > 0 {
		r.take(id, func() { r.foldMoves(name, n) })
	}
	r.complete()
}

// take folds news. While this node asks, it is told of a table that may be older
// than they are: then it needs them again. mu is held.
func (r *Recorder) take(id topic.ID, fold func()) {
	fold()
	if r.shared && !r.isReady() && r.nodes.self.since > 0 {
		r.nodes.recent = append(r.nodes.recent, news{id.Seq, fold})
	}
}

// learn is hear for a part of another node's table. mu is held.
func (r *Recorder) learn(n *note) {
	self := r.nodes.self
	if self.since == 0 || n.At < self.since {
		return // this node has not read what has come since
	}
	for name, members := range n.Holds {
		holder := r.nodes.get(name)
		if name == departed { // the last of them goes now
			holder.gone, holder.swept = time.Now(), false
		}
		members.each(func(name, called string) {
			m := r.getOrMake(name, called)
			m.announce(true)
			r.holdFor(holder, m)
		})
	}
	n.Untold.each(func(name, called string) { r.getOrMake(name, called).announce(false) })
	for _, later := range r.nodes.recent {
		if later.seq > n.At {
			later.fold()
		}
	}
	if n.Answers < self.since {
		return
	}
	if began, err := topic.ParseCursor(n.Began); err == nil {
		r.began = began.ID
	}
	r.whole()
}

// complete has the recorder begin anew if no node is left that was there before it.
// mu is held.
func (r *Recorder) complete() {
	self := r.nodes.self
	if r.isReady() || !r.nodes.known || self.since == 0 {
		return
	}
	for _, n := range r.nodes.byName {
		if n != self && n.gone.IsZero() && n.since < self.since {
			return
		}
	}
	r.nodes.alone = true
	r.rouse()
}

// whole makes the recorder ready. mu is held.
func (r *Recorder) whole() {
	if !r.isWhole.Swap(true) {
		r.nodes.recent = nil
		close(r.ready)
		r.rouse()
	}
}

// forgetAll has nobody be on any topic, but for those who are here: they are
// announced again. mu is held.
func (r *Recorder) forgetAll() {
	clear(r.others)
	for _, t := range slices.Collect(maps.Values(r.topics)) {
		for _, m := range slices.Collect(t.members.after("")) {
			m.holder = 0
			m.announce(false)
			r.change(m)
		}
	}
}
