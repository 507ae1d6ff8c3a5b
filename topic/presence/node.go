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
)

// A node is a recorder of those that share the log.
type node struct {
	name     string
	slot     slot
	since    uint64    // its hello's sequence number; 0 if that was not heard of
	heard    bool      // since this node's beat before
	missed   int       // this node's beats since it was heard
	asks     bool      // it does not know yet who is there
	answered bool      // it has told this node what it holds
	gone     time.Time // when it was; zero while it lives
	swept    bool      // then, it holds nobody any more
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

// leads reports whether this node is the oldest of those that live and know who is
// there. mu is held.
func (r *Recorder) leads() bool {
	if r.shared && (r.nodes.self.since == 0 || !r.isReady()) {
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
	Since   uint64              `json:"since,omitempty"`   // the node's hello
	Hello   bool                `json:"hello,omitempty"`   // it is new
	Asks    bool                `json:"asks,omitempty"`    // it does not know who is there; in a hello, it wants to be told
	Holds   map[string][]string `json:"holds,omitempty"`   // for who has asked: it holds these members, who were announced
	Stays   map[string][]string `json:"stays,omitempty"`   // likewise, from the oldest node: nobody who lives holds these, who were announced
	Answers uint64              `json:"answers,omitempty"` // the hellos up to this one: it holds no more
	Began   string              `json:"began,omitempty"`   // then, up to where joins and leaves are lost
	Anew    bool                `json:"anew,omitempty"`    // nobody knows who was there before: everybody is new
	Takes   map[string][]string `json:"takes,omitempty"`   // it holds these, too
	Frees   map[string][]string `json:"frees,omitempty"`   // it does not hold these any more
	Gone    bool                `json:"gone,omitempty"`    // it holds nobody after the grace
}

// hear is fold for a note. mu is held.
func (r *Recorder) hear(name string, id topic.ID, n *note) {
	from := r.nodes.get(name)
	if n.Gone {
		if from.gone.IsZero() {
			from.gone = time.Now()
			if !from.answered && from.since < r.nodes.self.since && !r.isReady() {
				r.askAnew()
			}
			r.rouse()
		}
		r.complete()
		return
	}
	from.heard, from.asks = true, n.Asks
	switch {
	case n.Hello:
		from.since = id.Seq
		switch {
		case !n.Asks:
		case from != r.nodes.self:
			r.nodes.asked = max(r.nodes.asked, id.Seq)
			r.rouse()
		case !r.isReady():
			r.forgetAll() // all that counts is told from here on
		}
	case n.Since > 0 && from != r.nodes.self:
		from.since = n.Since
	}
	if n.Anew {
		r.began = id
		r.forgetAll()
		r.whole() // from here on, all is told
	}
	if !r.isReady() {
		r.learn(from, n)
	}
	each(n.Takes, func(name, called string) {
		m := r.shown(from, name, called)
		r.holdFor(from, m)
		r.right(m, from)
	})
	each(n.Frees, func(name, called string) {
		m := r.shown(from, name, called)
		r.release(from.slot, m)
		r.right(m, from)
	})
	r.complete()
}

// shown returns a member of whom a node says that others were told. Who does not know
// who is there believes it; if it is not so, that node will right it. mu is held.
func (r *Recorder) shown(from *node, name, called string) *member {
	m := r.getOrMake(name, called)
	if !r.isReady() && from.gone.IsZero() { // of one that is gone, it comes late
		m.announce(true)
	}
	return m
}

// learn is hear for what is told to those who have asked. mu is held.
func (r *Recorder) learn(from *node, n *note) {
	each(n.Holds, func(name, called string) {
		m := r.getOrMake(name, called)
		m.announce(true)
		r.holdFor(from, m)
		r.right(m, from)
	})
	each(n.Stays, func(name, called string) { r.getOrMake(name, called).announce(true) })
	if self := r.nodes.self; self.since == 0 || n.Answers < self.since {
		return
	}
	from.answered = true
	if began, err := topic.ParseCursor(n.Began); err == nil {
		r.began = began.ID
	}
}

func each(lists map[string][]string, f func(name, member string)) {
	for name, members := range lists {
		for _, m := range members {
			f(name, m)
		}
	}
}

// askAnew is for when a node is gone that has not told what it held: what the
// others told was without that. Or this one is another node now. mu is held.
func (r *Recorder) askAnew() {
	for _, n := range r.nodes.byName {
		n.answered = false
	}
	r.nodes.self.since, r.nodes.known, r.nodes.alone, r.nodes.next = 0, false, false, time.Time{}
	r.began = topic.ID{}
}

// complete makes the recorder ready if all nodes that were there before it have
// told what they hold, or are gone. If none has, it begins anew. mu is held.
func (r *Recorder) complete() {
	self := r.nodes.self
	if r.isReady() || !r.nodes.known || self.since == 0 {
		return
	}
	for _, n := range r.nodes.byName {
		if n != self && n.gone.IsZero() && n.since < self.since && !n.answered {
			return
		}
	}
	if r.began.Epoch != 0 {
		r.whole()
	} else {
		r.nodes.alone = true
	}
	r.rouse()
}

// whole makes the recorder ready. mu is held.
func (r *Recorder) whole() {
	if !r.isWhole.Swap(true) {
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
	beat, answer, anew := !now.Before(r.nodes.next), r.nodes.asked > 0 && r.isReady(), r.nodes.alone && !r.isReady()
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
	page, err := r.log.Newest(ctx, []topic.Pattern{mustPattern(nodesPrefix + "*")}, maxNodes)
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
			known.gone, known.swept = time.Now(), true
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

// answer tells those who have asked whom this node holds.
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
	leads := r.leads()
	for m := range t.members.after(name) {
		switch {
		case !m.announced:
		case r.holds(r.nodes.self.slot, m):
			d.add(&d.Holds, t.topic, m.name)
		case leads && !r.heldByLiving(m):
			d.add(&d.Stays, t.topic, m.name)
		}
		if d.bytes >= noteBytes {
			return m.name, true
		}
	}
	return "", false
}

// heldByLiving reports whether a node holds the member that is not gone. mu is
// held.
func (r *Recorder) heldByLiving(m *member) bool {
	lives := func(s slot) bool { return s != 0 && r.nodes.slots[s].gone.IsZero() }
	return lives(m.holder) || slices.ContainsFunc(r.others[m], lives)
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

func (d *draft) add(lists *map[string][]string, name, member string) {
	if *lists == nil {
		*lists = make(map[string][]string)
	}
	(*lists)[name] = append((*lists)[name], member)
	d.bytes += len(name) + len(member)
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
