package client

import (
	"context"
	"slices"
	"time"
)

// An attempt is a choice and what it has begun.
type attempt struct {
	*choice
	why    purpose
	lead   *subscription
	ctx    context.Context
	cancel context.CancelCauseFunc
	links  map[Transport]*link // those that work
}

// A purpose says what an attempt is for.
type purpose int

const (
	connect purpose = iota // there is no link
	probe                  // for a more preferred one
	force                  // the user has changed what is allowed
	check                  // does the link live? Another of its kind shows it
	refit                  // the link has no connection to share, and now there is who could
)

func (k *keeper) begin(why purpose, allowed []Transport, first Transport, known bool, limit time.Duration) {
	// A link with one that can share the connection has one to share.
	lead := max(0, slices.IndexFunc(k.subs, func(s *subscription) bool { return len(s.topics) == 1 }))
	a := &attempt{why: why, lead: k.subs[lead], links: make(map[Transport]*link)}
	a.choice = newChoice(allowed, first, known, time.Now(), limit)
	a.ctx, a.cancel = context.WithCancelCause(k.c.ctx)
	k.attempt = a
}

// pursue does what the choice wants.
func (k *keeper) pursue() (wake time.Time) {
	for a := k.attempt; ; {
		m := a.next(time.Now())
		switch {
		case m.begin != "":
			// Ends with the attempt. Joined by Client.Close.
			k.c.running.Go(func() {
				l, err := k.c.open(a.ctx, m.begin, a.lead)
				if !k.post(func(k *keeper) { k.opened(a, m.begin, l, err) }) && l != nil {
					l.discard()
				}
			})
		case m.adopt != "":
			k.adopt(m.adopt)
			return wake
		case m.over:
			k.fail(a.cause())
			return wake
		default:
			return m.wake
		}
	}
}

// opened is told the outcome of a try.
func (k *keeper) opened(a *attempt, t Transport, l *link, err error) {
	if k.attempt != a {
		if l != nil {
			l.discard()
		}
		return
	}
	if err == nil {
		a.links[t] = l
		a.works(t, time.Now())
		return
	}
	a.failed(t, err)
	if !hopeless(err, t.shares()) {
		k.note(t, err)
	}
	switch {
	case refusal(err, t.shares()) && t.shares():
		k.stopAll(err)
	case refusal(err, t.shares()):
		a.lead.stop(err)
		k.forget(a.lead)
	case a.why == connect && hopeless(err, t.shares()):
		k.fail(err)
	}
}

// adopt makes a transport that works the link.
func (k *keeper) adopt(t Transport) {
	a, now := k.attempt, time.Now()
	l := a.links[t]
	delete(a.links, t)
	k.noteSilence(a, t)
	k.abandon()
	if k.old != nil {
		k.old.discard()
	}
	k.old, k.link, k.linked, k.checkBy = k.link, l, now, time.Time{}
	k.settling, k.settleBy = make(map[*subscription]struct{}), now.Add(settleLimit)
	k.cause = nil
	delete(k.failed, t)
	if k.all { // a choice of the user's says nothing about the network
		k.c.memory().note(k.c.base, t)
	}
	if k.last != "" && k.last != t {
		k.changed = now
	}
	k.last = t
	if a.why == probe || a.why == connect || a.why == force {
		k.nextProbe()
	}
	for _, s := range k.subs {
		k.settling[s] = struct{}{}
		l.attach(s)
	}
	k.tell(Connected)
	l.use()
}

// noteSilence says why transports did not work that were begun and never heard of.
func (k *keeper) noteSilence(a *attempt, chosen Transport) {
	for _, t := range a.tries {
		if !t.works && t.err == nil && (chosen == "" || preferred(k.allowed, t.transport, chosen)) {
			k.note(t.transport, silence(t.transport))
		}
	}
}

func (k *keeper) note(t Transport, err error) {
	if k.failed == nil {
		k.failed = make(map[Transport]error)
	}
	k.failed[t] = err
}

// fail is the end of an attempt that found nothing.
func (k *keeper) fail(cause error) {
	a := k.attempt
	why := a.why
	k.noteSilence(a, "")
	k.abandon()
	switch {
	case why == refit:
		k.link.attach(a.lead)
	case why == check:
		k.lost(k.link, nil, errNoAnswer, 0)
	case why == probe, why == force && slices.Contains(k.allowed, k.link.transport):
		k.nextProbe()
		k.tell(Connected)
	default:
		k.unlink()
		k.wait(cause, 0)
	}
}

// abandon drops the attempt, and what works of it.
func (k *keeper) abandon() {
	if a := k.attempt; a != nil {
		k.attempt = nil
		a.cancel(errStale)
		for _, l := range a.links {
			l.discard()
		}
	}
}
