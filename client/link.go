package client

import (
	"context"
	"sync"
	"time"
)

const (
	// settleLimit bounds how long a transport that works takes for the first
	// signal of another subscription, and how long a take-over may last.
	settleLimit = 10 * time.Second

	// lasting is how long a connection must live for its end to count as the
	// first failure (PROTOCOL.md §15.6).
	lasting = 5 * time.Second

	// checkLimit is how long a connection may take to prove itself.
	checkLimit = 2 * time.Second
)

// A link is a transport that works, with what is open by it: a session that
// subscriptions share, and a reading for each that cannot. It ends with its context.
type link struct {
	c         *Client
	transport Transport
	number    int64 // of the links of this client
	ctx       context.Context
	cancel    context.CancelCauseFunc
	session   *session // nil if the transport has none, or nobody could share it

	version string        // of HTTP
	latency time.Duration // of the first signal
	lead    *subscription // that the link was opened with, and is being read for
	proceed chan struct{} // closed when the link is wanted: until then nothing is delivered

	mu       sync.Mutex // guards what follows
	readings map[*subscription]context.CancelFunc
}

// open opens a link, and returns with its first signal (PROTOCOL.md §15.2).
func (c *Client) open(ctx context.Context, t Transport, lead *subscription) (*link, error) {
	l, err := c.openOnce(ctx, t, lead)
	if unauthorized(err) && c.opts.Token != nil {
		return c.openOnce(ctx, t, lead) // with another token, perhaps
	}
	return l, err
}

func (c *Client) openOnce(ctx context.Context, t Transport, lead *subscription) (*link, error) {
	l := &link{c: c, transport: t, number: c.links.Add(1), proceed: make(chan struct{}), readings: make(map[*subscription]context.CancelFunc)}
	l.ctx, l.cancel = context.WithCancelCause(c.ctx)
	began := time.Now()
	err := l.open(ctx, lead)
	if err != nil {
		l.cancel(err)
		return nil, err
	}
	l.latency = time.Since(began)
	return l, nil
}

func (l *link) open(ctx context.Context, lead *subscription) (err error) {
	if l.transport.shares() && len(lead.topics) == 1 {
		if l.session, err = l.c.dialSession(ctx, l, lead); err == nil && l.session.lead != nil {
			l.lead = lead
		}
		return err
	}
	l.lead = lead
	opened := make(chan error, 1)
	works := false // only the reading's
	waiting := func(r *reading, place string) error {
		l.version, works = r.version, true
		opened <- nil
		select {
		case <-l.proceed:
			return l.promote(r, place)
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
	l.start(lead, waiting, choiceLimit, func(err error) {
		if works {
			l.lost(lead, err, 0)
		} else {
			opened <- err
		}
	})
	select {
	case err := <-opened:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// use lets the link deliver.
func (l *link) use() {
	close(l.proceed)
	if l.session != nil {
		// Ends with the connection, which ends with the link. Joined by
		// Client.Close.
		l.c.running.Go(func() {
			l.session.run(l.ctx, func(err error) {
				if l.ctx.Err() == nil {
					l.lost(nil, closeError(err), closeWait(err))
				}
			})
		})
	}
}

// discard ends a link that is not wanted.
func (l *link) discard() {
	l.cancel(errStale)
	if l.session != nil {
		select {
		case <-l.proceed: // the session ends itself
		default:
			l.session.abandon()
			l.c.running.Go(l.session.conn.Close) // takes closeTimeout at most
		}
	}
}

// attach begins to read for a subscription, if it does not yet.
func (l *link) attach(s *subscription) {
	if l.lead == s {
		l.lead = nil
		return
	}
	if l.session != nil && l.session.subscribe(s) {
		return
	}
	l.start(s, l.promote, settleLimit, func(err error) { l.lost(s, err, 0) })
}

// detach ends the reading for a subscription.
func (l *link) detach(s *subscription) {
	if l.session != nil {
		l.session.unsubscribe(s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if cancel := l.readings[s]; cancel != nil {
		cancel()
		delete(l.readings, s)
	}
}

// promote is what follows a first signal.
func (l *link) promote(r *reading, place string) error {
	err := r.feed.promote(l.number, place)
	if err == nil {
		l.placed(r.s)
	}
	return err
}

// placed tells that the link delivers for the subscription.
func (l *link) placed(s *subscription) { l.c.keeper.post(func(k *keeper) { k.placed(l, s) }) }

// lost tells that the link is of no use any more, or not for one subscription.
func (l *link) lost(s *subscription, err error, retry time.Duration) {
	l.c.keeper.post(func(k *keeper) { k.lost(l, s, err, retry) })
}

// start reads for a subscription on a goroutine of its own.
func (l *link) start(s *subscription, first func(*reading, string) error, limit time.Duration, failed func(error)) {
	ctx, cancel := context.WithCancel(l.ctx)
	l.mu.Lock()
	if before := l.readings[s]; before != nil {
		before()
	}
	l.readings[s] = cancel
	l.mu.Unlock()
	// Ends with the link, when another takes over, or when it cannot go on.
	// Joined by Client.Close.
	l.c.running.Go(func() {
		defer cancel()
		l.read(ctx, s, first, limit, failed)
	})
}

// read makes one connection after the other, as long as each works.
func (l *link) read(ctx context.Context, s *subscription, first func(*reading, string) error, limit time.Duration, failed func(error)) {
	backoff := l.c.newBackoff()
	for {
		began := time.Now()
		r, err := l.connect(ctx, s, first, limit)
		first, limit = l.promote, rememberedStagger
		switch {
		case ctx.Err() != nil || err == errStale || err == errOver:
			return
		case err == errAgain:
			continue
		case r.begun && unauthorized(err) && l.c.opts.Token != nil:
			continue // with another token, perhaps
		case !r.begun:
			failed(err)
			return
		case !temporary(err):
			s.stop(err)
			return
		case err == errIdle:
			l.lost(nil, err, 0)
			return
		}
		switch {
		case time.Since(began) >= lasting:
			backoff.succeeded()
		case backoff.failures > 0: // the one before did not last, either
			l.lost(nil, &fleetingError{err}, r.retry)
			return
		}
		if err := l.c.pause(ctx, &backoff, err, r.retry); err != nil {
			if ctx.Err() == nil {
				s.stop(err) // nobody wants to try again
			}
			return
		}
	}
}

// connect makes one connection, and returns why it is over. Its first signal
// has to come within the limit.
func (l *link) connect(ctx context.Context, s *subscription, first func(*reading, string) error, limit time.Duration) (*reading, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(limit, func() { cancel(errNoSignal) })
	defer timer.Stop()
	feed, after := s.begin()
	defer feed.end()
	r := &reading{Client: l.c, s: s, feed: feed, after: after}
	r.first = func(r *reading, place string) error {
		if !timer.Stop() {
			return errNoSignal
		}
		return first(r, place)
	}
	err := connects[l.transport](r, ctx)
	if !r.begun && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r, err
}
