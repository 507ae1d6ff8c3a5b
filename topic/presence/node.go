package presence

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

const (
	// beatEvery is how often a node shows that it is there.
	beatEvery = 3 * time.Second
	// silentBeats is how many times this node may beat, each time without a word of
	// another one since the beat before, until that one is gone. Beats that the log
	// has taken are what counts, not the time: if nobody is heard, it is the log
	// that is silent. So it takes 6 to 9 s after the other's last word.
	silentBeats = 2
	// noteBytes bounds the names in one note, about.
	noteBytes = 32 << 10
	// forgetAfter is how long a node that is gone is known. What it has said last
	// may come so late.
	forgetAfter = time.Minute
	// maxNodes bounds what is read of nodes that were there before this one.
	maxNodes = 1000

	// departed stands for all nodes that are gone, where a table is told of. None
	// has this name: it is no segment of a topic.
	departed = "*"
)

// A node is a recorder of those that share the log.
type node struct {
	name   string
	slot   slot
	since  uint64    // its hello's sequence number; 0 if that was not heard of
	heard  bool      // since this node's beat before
	missed int       // this node's beats since it was heard
	asks   bool      // it does not know yet who is there
	gone   time.Time // when it was; zero while it lives
	swept  bool      // then, it holds nobody any more
}

// nodes are those that are known. The recorder's mu guards all of it.
type nodes struct {
	self   *node
	byName map[string]*node
	slots  []*node   // by slot; the first is nobody's, nor are those that are nil
	next   time.Time // of the next beat
	known  bool      // all that were there before this one
	asked  uint64    // the newest hello that is to be answered; 0 if there is none
	alone  bool      // nobody is left who knows who is there: it begins anew
	recent []news    // what this node has read of members since it asked
}

// News are what an entry of the log says of members.
type news struct {
	seq  uint64
	fold func() // puts it into the table; again, it changes nothing
}

func nodeOf(name string) (node string, ok bool) { return strings.CutPrefix(name, nodesPrefix) }

// begin makes this node another one than before.
func (n *nodes) begin() {
	if n.byName == nil {
		n.byName, n.slots = make(map[string]*node), make([]*node, 1)
	}
	n.self = n.get(rand.Text()[:10])
	n.next = time.Time{}
}

// get returns the node of that name.
func (n *nodes) get(name string) *node {
	if known := n.byName[name]; known != nil {
		return known
	}
	name = strings.Clone(name) // it is part of a message
	made := &node{name: name, slot: n.place()}
	n.byName[name], n.slots[made.slot] = made, made
	return made
}

// place returns a slot that is free.
func (n *nodes) place() slot {
	for i, taken := range n.slots {
		if i > 0 && taken == nil {
			return slot(i)
		}
	}
	n.slots = append(n.slots, nil)
	return slot(len(n.slots) - 1)
}

// speaks reports whether this node may tell of members: it knows who is there, and
// the others know of it. mu is held.
func (r *Recorder) speaks() bool { return r.isReady() && (!r.shared || r.nodes.self.since > 0) }

// leads reports whether this node is the oldest of those that live and know who is
// there. mu is held.
func (r *Recorder) leads() bool {
	if !r.speaks() {
		return false
	}
	for _, n := range r.nodes.byName {
		if n != r.nodes.self && n.gone.IsZero() && !n.asks && n.since <= r.nodes.self.since {
			return false
		}
	}
	return true
}

// A note is what a node tells the others, on its own topic; that it is gone may be
// told by another.
type note struct {
	Since   uint64           `json:"since,omitempty"`   // the node's hello
	Hello   bool             `json:"hello,omitempty"`   // it is new
	Asks    bool             `json:"asks,omitempty"`    // it does not know who is there; in a hello, it wants to be told
	At      uint64           `json:"at,omitempty"`      // to who has asked: a part of the table, as it was here or later
	Holds   map[string]lists `json:"holds,omitempty"`   // which node holds whom; departed: nobody who lives
	Untold  lists            `json:"untold,omitempty"`  // of these, who was not announced
	Answers uint64           `json:"answers,omitempty"` // the hellos up to this one: that was all of the table
	Began   string           `json:"began,omitempty"`   // then, up to where joins and leaves are lost
	Anew    bool             `json:"anew,omitempty"`    // nobody knows who was there before: everybody is new
	Takes   lists            `json:"takes,omitempty"`   // it holds these, too
	Frees   lists            `json:"frees,omitempty"`   // it does not hold these any more
	Gone    bool             `json:"gone,omitempty"`    // it holds nobody after the grace
}

// lists are names of members, by topic.
type lists map[string][]string

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

func (l lists) each(f func(name, member string)) {
	for name, members := range l {
		for _, m := range members {
			f(name, m)
		}
	}
}

// askAnew is for a node that is another one now, and did not know yet who is there.
// mu is held.
func (r *Recorder) askAnew() {
	r.nodes.self.since, r.nodes.known, r.nodes.alone, r.nodes.next = 0, false, false, time.Time{}
	r.began = topic.ID{}
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

// attend does what is due because of other nodes.
func (r *Recorder) attend(now time.Time) {
	r.mu.Lock()
	if !r.nodes.self.gone.IsZero() { // others have missed this one
		r.nodes.begin()
		if !r.isReady() {
			r.askAnew()
		}
		r.rejoin()
	}
	beat, answer, anew := !now.Before(r.nodes.next), r.nodes.asked > 0 && r.leads(), r.nodes.alone && !r.isReady()
	if beat {
		r.nodes.next = now.Add(beatEvery)
	}
	var over []*node
	for _, n := range r.nodes.byName {
		switch end, ends := n.end(r.stay()); {
		case !ends || now.Before(end):
		case n.swept:
			delete(r.nodes.byName, n.name)
			r.nodes.slots[n.slot] = nil
		default:
			over = append(over, n)
		}
	}
	r.mu.Unlock()
	for _, n := range over {
		r.sweep(n)
	}
	if beat {
		r.beat()
	}
	if anew {
		ctx, cancel := context.WithTimeout(r.ctx, beatEvery)
		defer cancel()
		d := draft{note: note{Anew: true}}
		_ = r.send(ctx, &d) // with the next beat it is tried again
	}
	if answer {
		r.answer()
	}
}

// until has f called with the times at which attend has something to do. mu is held.
func (n *nodes) until(stay time.Duration, f func(time.Time)) {
	f(n.next)
	for _, node := range n.byName {
		if end, ends := node.end(stay); ends {
			f(end)
		}
	}
}

// end is when a node that is gone holds nobody any more, and then when it is
// forgotten.
func (n *node) end(stay time.Duration) (end time.Time, ends bool) {
	switch {
	case n.gone.IsZero():
		return end, false
	case n.swept:
		return n.gone.Add(forgetAfter + stay), true
	}
	return n.gone.Add(stay), true
}

// holdFor notes that a node holds a member. mu is held.
func (r *Recorder) holdFor(n *node, m *member) {
	if !n.swept {
		r.hold(n.slot, m)
	}
}

// rejoin has all members who are here announced again. mu is held.
func (r *Recorder) rejoin() {
	for _, t := range r.topics {
		for m := range t.members.after("") {
			if m.present() {
				r.change(m)
			}
		}
	}
}

// tell appends a note to the node's topic.
func (r *Recorder) tell(ctx context.Context, name string, n *note, seen topic.ID) error {
	_, err := r.append(ctx, nodesPrefix+name, encode(n), seen)
	return err
}

// beat shows that this node is there, first by a hello, and looks for those that
// are not.
func (r *Recorder) beat() {
	ctx, cancel := context.WithTimeout(r.ctx, beatEvery)
	defer cancel()
	r.mu.Lock()
	self := r.nodes.self
	n := note{Since: self.since, Hello: self.since == 0, Asks: !r.isReady()}
	known := r.nodes.known || r.isReady()
	r.mu.Unlock()
	err := r.tell(ctx, self.name, &n, topic.ID{})
	if err == nil && !known {
		err = r.readNodes(ctx)
	}
	if err != nil {
		r.mu.Lock()
		r.nodes.next = time.Now().Add(retryAfter)
		r.mu.Unlock()
		r.logger.Debug("presence cannot tell the other servers that this one is there", "error", err)
		return
	}
	r.mu.Lock()
	var silent []*node
	for _, n := range r.nodes.byName {
		switch {
		case n == self || !n.gone.IsZero():
		case n.heard:
			n.heard, n.missed = false, 0
		default:
			if n.missed++; n.missed >= silentBeats {
				silent = append(silent, n)
			}
		}
	}
	seen := *r.seen.Load()
	r.mu.Unlock()
	for _, n := range silent {
		// If it, or another about it, has said something since, this is refused.
		if err := r.tell(ctx, n.name, &note{Gone: true}, seen); err == nil {
			r.logger.Warn("another server is silent: who is on its topics leaves", "node", n.name)
		}
	}
}

// readNodes makes those known that were there before this node.
func (r *Recorder) readNodes(ctx context.Context) error {
	page, err := r.log.Newest(ctx, []topic.Pattern{mustPattern(nodesPrefix + "*")}, topic.Limit{Events: maxNodes})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range page.Entries {
		var n note
		name, ok := nodeOf(e.Topic)
		if !ok || json.Unmarshal(e.Data, &n) != nil || r.nodes.byName[name] != nil {
			continue
		}
		known := r.nodes.get(name)
		known.since, known.asks = n.Since, n.Asks
		if n.Hello {
			known.since = e.ID.Seq
		}
		if n.Gone {
			known.gone = time.Now()
		}
	}
	r.nodes.known = true
	r.complete()
	return nil
}

// sweep has a node that is gone hold nobody. Those whom no other holds leave,
// and the oldest node says so.
func (r *Recorder) sweep(n *node) {
	r.mu.Lock()
	tables := slices.Collect(maps.Values(r.topics))
	leads := r.leads()
	n.swept = true
	r.mu.Unlock()
	for _, t := range tables {
		r.mu.Lock()
		var touched []*member
		for m := range t.members.after("") {
			r.release(n.slot, m)
			if m.holder == 0 {
				touched = append(touched, m)
			}
		}
		for _, m := range touched {
			if leads || m.present() {
				r.change(m)
			} else {
				r.tidy(m)
			}
		}
		r.mu.Unlock()
	}
}

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

// tellNodes tells the other nodes of what no event tells.
func (r *Recorder) tellNodes(ctx context.Context, quiet []announcement) error {
	var d draft
	for _, a := range quiet {
		for _, m := range a.takes {
			d.add(&d.Takes, a.topic.topic, m.name)
		}
		for _, m := range a.frees {
			d.add(&d.Frees, a.topic.topic, m.name)
		}
		if d.bytes >= noteBytes {
			if err := r.send(ctx, &d); err != nil {
				return err
			}
		}
	}
	return r.send(ctx, &d)
}

// A draft is a note in the making.
type draft struct {
	note
	bytes int
}

func (d *draft) add(to *lists, name, member string) {
	if *to == nil {
		*to = make(lists)
	}
	(*to)[name] = append((*to)[name], member)
	d.bytes += len(name) + len(member)
}

func (d *draft) addHolder(node string, m *member) {
	if d.Holds == nil {
		d.Holds = make(map[string]lists)
	}
	held := d.Holds[node]
	d.add(&held, m.topic.topic, m.name)
	d.Holds[node] = held
}

// send appends the draft, if there is something in it, and empties it.
func (r *Recorder) send(ctx context.Context, d *draft) error {
	if d.bytes == 0 && d.Answers == 0 && !d.Anew {
		return nil
	}
	r.mu.Lock()
	name := r.nodes.self.name
	d.Since = r.nodes.self.since
	r.mu.Unlock()
	err := r.tell(ctx, name, &d.note, topic.ID{})
	*d = draft{}
	return err
}

// takeLeave tells the other nodes that this one is gone, after all that it knows.
// It does not wait long: if it cannot, they notice.
func (r *Recorder) takeLeave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.mu.Lock()
	name, said := r.nodes.self.name, r.nodes.self.since > 0
	due := r.due
	for _, t := range r.cooling {
		if len(t.changed) > 0 {
			due = append(due, t)
		}
	}
	r.due = nil
	r.mu.Unlock()
	if !said {
		return
	}
	if r.isReady() {
		r.announce(ctx, due)
	}
	if err := r.tell(ctx, name, &note{Gone: true}, topic.ID{}); err != nil {
		r.logger.Warn("presence cannot tell the other servers that this one stops", "error", err)
	}
}
