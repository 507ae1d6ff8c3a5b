package client

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// The times of PROTOCOL.md §15.4.
const (
	firstProbe     = 30 * time.Second
	mostProbe      = 10 * time.Minute
	betweenChanges = time.Minute
	probeLimit     = 3 * time.Second  // and twice the latency of the link
	steadyAfter    = 10 * time.Minute // of one connection, probing starts over
)

// spareFor is how long a connection is kept that carries nothing: the next
// subscription finds it (PROTOCOL.md §15.6).
const spareFor = 3 * time.Second

// A keeper keeps a link for the subscriptions of a client. Everything but its
// mail belongs to one goroutine, which runs while there are subscriptions, or a
// link.
type keeper struct {
	c *Client

	mu      sync.Mutex // guards what follows, up to wake
	mail    []func(*keeper)
	running bool
	closed  bool
	wake    chan struct{} // holds one when there is mail

	subs    []*subscription
	allowed []Transport // in order of preference
	all     bool        // the user has named none

	link     *link
	linked   time.Time // since when
	spareBy  time.Time // until when it is kept if it carries nothing
	checkBy  time.Time // when it has to have proved itself; zero if nobody asked
	old      *link     // from which link takes over
	settling map[*subscription]struct{}
	settleBy time.Time

	attempt *attempt
	first   Transport // to begin the next choice with; "" is the one remembered
	failed  map[Transport]error

	backoff backoff
	retryAt time.Time // of the next attempt, while there is no link
	cause   error     // of waiting

	probes  int // since there was no reason to probe
	probeAt time.Time
	last    Transport // of the newest link
	changed time.Time // when that was last another one than before
}

// post has f run by the keeper.
func (k *keeper) post(f func(*keeper)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.mail = append(k.mail, f)
	if !k.running {
		k.running = true
		// Ends when there are neither subscriptions nor a link. Joined by Client.Close.
		k.c.running.Go(k.run)
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return true
}

func (k *keeper) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		k.mu.Lock()
		mail := k.mail
		k.mail = nil
		if len(mail) == 0 && len(k.subs) == 0 && k.link == nil {
			k.running = false
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		for _, f := range mail {
			f(k)
		}
		wake := k.step()
		if len(k.subs) == 0 && !k.spares() {
			k.abandon()
			k.unlink()
			k.retryAt = time.Time{}
			k.tell(Idle)
			continue
		}
		if wake.IsZero() {
			wake = time.Now().Add(time.Hour)
		}
		timer.Reset(time.Until(wake))
		select {
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// step does what is due, and says when to be called again; zero is never.
func (k *keeper) step() (wake time.Time) {
	now := time.Now()
	if len(k.subs) == 0 {
		return k.spareBy
	}
	if k.link == nil && k.attempt == nil {
		if now.Before(k.retryAt) {
			return k.retryAt
		}
		k.connect()
	}
	if k.link != nil {
		wake = k.tend(now)
	}
	if k.attempt == nil {
		if k.link == nil {
			return k.retryAt
		}
		return wake
	}
	at := k.pursue()
	if k.attempt == nil {
		return k.step() // it is over, and something else begins
	}
	if wake.IsZero() || at.Before(wake) {
		wake = at
	}
	return wake
}

// spares reports whether the link is kept although it carries nothing.
func (k *keeper) spares() bool {
	k.abandon()
	return k.link != nil && k.link.session != nil && time.Now().Before(k.spareBy)
}

// tend does what a link needs from time to time.
func (k *keeper) tend(now time.Time) (wake time.Time) {
	if !k.checkBy.IsZero() && !now.Before(k.checkBy) {
		k.lost(k.link, nil, errNoAnswer, 0)
		return k.retryAt
	}
	wake = k.checkBy
	sooner := func(at time.Time) {
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	if k.old != nil {
		if now.Before(k.settleBy) {
			sooner(k.settleBy)
		} else {
			k.settle()
		}
	}
	better := k.allowed[:max(0, slices.Index(k.allowed, k.link.transport))]
	if len(better) > 0 && k.attempt == nil {
		if now.Before(k.probeAt) {
			sooner(k.probeAt)
		} else {
			k.begin(probe, better, "", false, probeLimit+2*k.link.latency)
		}
	}
	return wake
}

func (k *keeper) connect() {
	first, known := k.first, false
	if first == "" {
		first = k.c.memory().recall(k.c.base)
		known = true
	}
	k.first = ""
	k.begin(connect, k.allowed, first, known, choiceLimit)
	k.tell(Connecting)
}

// nextProbe plans the next look at what is more preferred.
func (k *keeper) nextProbe() {
	wait := min(firstProbe<<min(k.probes, 10), mostProbe)
	k.probes++
	wait = wait*4/5 + rand.N(wait*2/5)
	k.probeAt = time.Now().Add(wait)
	if earliest := k.changed.Add(betweenChanges); k.probeAt.Before(earliest) {
		k.probeAt = earliest
	}
}

// wait is for the next attempt, unless nothing can come of it.
func (k *keeper) wait(cause error, asked time.Duration) {
	wait, again := k.c.waitFor(&k.backoff, cause, asked)
	if !again {
		k.stopAll(cause)
		return
	}
	k.cause, k.retryAt = cause, time.Now().Add(wait)
	k.tell(Waiting)
}

// lost is told that a link does not deliver, for one subscription or, if s is
// nil, for all.
func (k *keeper) lost(l *link, s *subscription, err error, retry time.Duration) {
	switch {
	case s != nil && refusal(err, false):
		s.stop(err)
		k.forget(s)
		return
	case k.attempt != nil && k.attempt.links[l.transport] == l:
		// It worked, and does no more, before it was chosen.
		delete(k.attempt.links, l.transport)
		k.attempt.failed(l.transport, err)
		l.discard()
		return
	case l == k.old:
		k.settle()
		return
	case l != k.link:
		return
	}
	again, fleeting := errors.AsType[*fleetingError](err)
	if fleeting {
		err = again.cause
	}
	fault := l.transport.shares() && remoteFault(err)
	if fault {
		err = errors.Unwrap(err) // it may be another with another transport
	}
	k.unlink()
	if len(k.subs) == 0 {
		return // it carried nothing
	}
	lived := time.Since(k.linked)
	if lived >= steadyAfter {
		k.probes = 0
	}
	if lived >= lasting && !fleeting {
		k.backoff.succeeded()
	}
	if fault || fleeting || err == errIdle || err == errNoAnswer || k.backoff.failures > 0 {
		k.first = k.below(l.transport)
		k.note(l.transport, err)
		if k.first != l.transport {
			k.backoff.succeeded() // another way to a server that is there
		}
	}
	if k.attempt != nil { // what was to take over is to come in its place
		k.attempt.why, k.cause = connect, err
		k.tell(Connecting)
		return
	}
	k.wait(err, retry)
}

// below is the next less preferred transport, if there is one.
func (k *keeper) below(t Transport) Transport {
	i := slices.Index(k.allowed, t)
	return k.allowed[min(i+1, len(k.allowed)-1)]
}

// placed is told that a link delivers for a subscription.
func (k *keeper) placed(l *link, s *subscription) {
	if l != k.link {
		return
	}
	delete(k.settling, s)
	if k.old == nil {
		return
	}
	k.old.detach(s)
	if len(k.settling) == 0 {
		k.old.discard()
		k.old = nil
	}
}

// settle ends a take-over that takes too long, or whose old link is lost.
func (k *keeper) settle() {
	k.old.discard()
	k.old = nil
	for s := range k.settling {
		k.link.detach(s)
		k.link.attach(s)
	}
}

// forget takes a subscription out.
func (k *keeper) forget(s *subscription) {
	k.subs = slices.DeleteFunc(k.subs, func(other *subscription) bool { return other == s })
	for _, l := range []*link{k.link, k.old} {
		if l != nil {
			l.detach(s)
		}
	}
	k.placed(k.link, s) // nothing waits for it
	k.spareBy = time.Now().Add(spareFor)
	if k.attempt != nil && k.attempt.lead == s {
		k.abandon()
	}
}

func (k *keeper) stopAll(err error) {
	for _, s := range k.subs {
		s.stop(err)
	}
	k.subs = nil
	k.cause = err
}

func (k *keeper) unlink() {
	for _, l := range []*link{k.link, k.old} {
		if l != nil {
			l.discard()
		}
	}
	k.link, k.old, k.checkBy, k.settling = nil, nil, time.Time{}, nil
}

func (k *keeper) tell(state State) {
	status := Status{State: state, Err: k.cause}
	if state == Waiting {
		status.Retry = k.retryAt
	}
	if k.link != nil {
		status.Transport, status.Version, status.Latency = k.link.transport, k.link.version, k.link.latency
	}
	for t, err := range k.failed {
		if k.link == nil || preferred(k.allowed, t, k.link.transport) {
			if status.Failed == nil {
				status.Failed = make(map[Transport]error)
			}
			status.Failed[t] = err
		}
	}
	k.c.setStatus(status)
}

// What follows is for the client's methods.

func (k *keeper) add(s *subscription) error {
	if !k.post(func(k *keeper) {
		k.subs = append(k.subs, s)
		switch l := k.link; {
		case l == nil:
		case l.transport.shares() && l.session == nil && len(s.topics) == 1 && k.attempt == nil:
			k.begin(refit, []Transport{l.transport}, "", false, settleLimit)
		default:
			l.attach(s)
		}
	}) {
		return ErrClosed
	}
	return nil
}

// remove is called when the loop of a subscription is over.
func (k *keeper) remove(s *subscription) {
	s.stop(nil)
	k.post(func(k *keeper) { k.forget(s) })
}

func (k *keeper) allow(transports []Transport, all bool) {
	k.post(func(k *keeper) {
		k.allowed, k.all = transports, all
		k.failed = nil
		k.probes = 0
		k.abandon()
		k.retryAt = time.Time{}
		switch {
		case k.link == nil || k.link.transport == transports[0]:
		case len(k.subs) == 0:
			k.unlink()
		default:
			k.begin(force, transports, "", false, choiceLimit)
		}
	})
}

func (k *keeper) check() {
	k.post(func(k *keeper) {
		k.probes, k.probeAt, k.retryAt = 0, time.Time{}, time.Time{}
		switch l := k.link; {
		case l == nil || !k.checkBy.IsZero():
		case l.session != nil:
			k.checkBy = time.Now().Add(checkLimit)
			l.session.check(func() {
				k.post(func(k *keeper) {
					if k.link == l {
						k.checkBy = time.Time{}
					}
				})
			})
		case k.attempt == nil && len(k.subs) > 0:
			k.begin(check, []Transport{l.transport}, "", false, checkLimit)
		}
	})
}

// close ends all subscriptions.
func (k *keeper) close() {
	k.post(func(k *keeper) {
		k.stopAll(ErrClosed)
		k.unlink()
	})
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
}

// remoteFault reports a close by which the server says that this client, or
// something on the way, breaks the protocol (PROTOCOL.md §15.6).
func remoteFault(err error) bool {
	e, ok := errors.AsType[*websocket.CloseError](err)
	return ok && e.Remote && !temporary(err)
}
