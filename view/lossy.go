package view

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/duplexhq/duplex/internal/jsonscan"
	"github.com/duplexhq/duplex/topic"
)

const (
	// maxDatagram is the longest datagram that is sent. It has room on every path
	// that carries QUIC: of 1,200 bytes (RFC 9000 §14) the header of the packet,
	// its seal, and those of the frame and of HTTP take less than 60.
	maxDatagram = 1100 // bytes

	// waitingDatagrams is how many wait for the network. More are lost.
	waitingDatagrams = 64
)

// lossy is the part of a session that is not sure to arrive: events of topics
// that keep nothing, as datagrams (PROTOCOL.md §16.4). It has a subscriber of its
// own, which no stalled stream holds up.
type lossy struct {
	session *webTransport
	// interests are those of the session, if one of them wants datagrams; else
	// nil. Who reads from the client changes them.
	interests atomic.Pointer[[]interest]
	all       []interest        // who reads from the client owns them
	sub       *topic.Subscriber // once a subscription has wanted datagrams
	waiting   chan []byte
	sending   sync.WaitGroup
}

// An interest is a subscription of the session.
type interest struct {
	name      string
	pattern   topic.Pattern
	datagrams bool // are wanted
}

// add is for a subscription that is about to begin.
func (l *lossy) add(in interest) {
	l.all = append(l.all, in)
	l.publishInterests()
	if !in.datagrams || in.pattern.Literal() && !l.isEphemeral(in.name) {
		return
	}
	selection := topic.Selection{Name: in.name, Patterns: []topic.Pattern{in.pattern}, Start: l.session.handler.hub.Now()}
	if l.sub != nil {
		l.sub.Subscribe(selection)
		return
	}
	l.waiting = make(chan []byte, waitingDatagrams)
	l.sending.Go(l.send) // Ends, and is joined, by stop.
	l.sub = l.session.handler.hub.Subscribe(l, topic.SubscribeOptions{}, selection)
}

// remove is for one that has ended. There may be none of that name.
func (l *lossy) remove(name string) {
	i := slices.IndexFunc(l.all, func(in interest) bool { return in.name == name })
	if i < 0 {
		return
	}
	if l.sub != nil && l.all[i].datagrams {
		l.sub.Unsubscribe(name)
	}
	l.all = slices.Delete(l.all, i, i+1)
	l.publishInterests()
}

func (l *lossy) publishInterests() {
	if !slices.ContainsFunc(l.all, func(in interest) bool { return in.datagrams }) {
		l.interests.Store(nil)
		return
	}
	l.interests.Store(new(slices.Clone(l.all)))
}

// stop ends the subscriber, and waits for what sends.
func (l *lossy) stop() {
	if l.sub != nil {
		l.sub.Close()
		close(l.waiting)
		l.sending.Wait()
	}
}

func (l *lossy) isEphemeral(name string) bool {
	return l.session.handler.hub.Log().Rules().Of(name).Ephemeral()
}

// takes reports whether an event whose JSON has so many bytes goes by datagram:
// its topic keeps nothing, and all subscriptions that it matches want that.
func (l *lossy) takes(name string, size int) bool {
	interests := l.interests.Load()
	if interests == nil || size > maxDatagram || !l.isEphemeral(name) {
		return false
	}
	matched := false
	for _, in := range *interests {
		if !in.pattern.Match(name) {
			continue
		}
		if !in.datagrams {
			return false
		}
		matched = true
	}
	return matched
}

// takesLine is takes for a line of the stream, which may be a signal.
func (l *lossy) takesLine(line []byte) bool {
	if l.interests.Load() == nil || len(line)-1 > maxDatagram {
		return false
	}
	for m, err := range jsonscan.Members(line) {
		if err != nil {
			break // an answer has another form, too
		}
		if string(m.Key) == "topic" {
			name, err := jsonscan.String(m.Value)
			return err == nil && l.takes(name, len(line)-1)
		}
	}
	return false
}

// Send is the hub's.
func (l *lossy) Send(b topic.Batch) bool {
	for _, e := range b.Entries {
		if e.IsEnd() {
			continue
		}
		line := e.Encode(formLines)
		if !l.takes(e.Topic, len(line)-1) {
			continue
		}
		select {
		case l.waiting <- line[:len(line)-1]:
		default: // lost
		}
	}
	return true
}

// send sends what waits.
func (l *lossy) send() {
	defer l.session.survive()
	for p := range l.waiting {
		if l.session.conn.SendDatagram(p) == nil {
			l.session.sent.Add(int64(len(p)))
		}
	}
}

// hear carries out what the client says by datagrams.
func (l *lossy) hear() {
	defer l.session.survive()
	o := ops{client: l.session}
	for {
		p, err := l.session.conn.ReceiveDatagram()
		if err != nil {
			return
		}
		o.takeLossy(p)
		l.session.wait()
	}
}
