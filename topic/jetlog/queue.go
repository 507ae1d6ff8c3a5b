package jetlog

import (
	"context"
	"sync"

	"github.com/duplexhq/duplex/topic"
)

// A group of appends becomes one message. A small group costs little more than
// a large one, and who reads one entry of it from the disk reads all of them;
// but a sync costs the same for any number.
const (
	groupAppends     = 64
	syncGroupAppends = 256      // with Options.Fsync or Options.NATS
	groupBytes       = 32 << 10 // of data; one append may exceed it
)

// pending is an append that waits for its turn, and then for its outcome.
type pending struct {
	topic  string
	drafts []topic.Draft
	key    topic.Key
	bytes  int
	// abandoned says that nobody waits any more; guarded by queue.mu.
	abandoned bool

	turn chan turn // has room for one

	// While it is in a group.
	admitted bool     // it shall be stored
	first    uint64   // then, its first sequence number
	same     *pending // of the same group and key: its outcome is this one's

	// The outcome, once turn says done.
	id  topic.ID
	err error
}

// turn is what happens next to an append that waits.
type turn uint8

const (
	done turn = iota
	lead      // the group that begins with it
)

// queue lets one group at a time be appended. Its leader is one of those who
// wait: the first in the queue. While it works, the next group gathers.
type queue struct {
	mu      sync.Mutex
	idle    sync.Cond
	waiting []*pending // guarded by mu
	busy    bool       // there is a leader; guarded by mu
	closed  bool       // guarded by mu
}

// enter queues an append and waits until it is done, or shall lead.
func (q *queue) enter(ctx context.Context, p *pending) (turn, error) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return done, topic.ErrClosed
	}
	q.waiting = append(q.waiting, p)
	if !q.busy {
		q.busy = true
		q.mu.Unlock()
		return lead, nil
	}
	q.mu.Unlock()
	select {
	case t := <-p.turn:
		return t, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case t := <-p.turn: // it came at last
		return t, nil
	default:
		p.abandoned = true
		return done, context.Cause(ctx)
	}
}

// group takes the next group, of at most so many. Only the leader calls it.
func (q *queue) group(dst []*pending, most int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes, n := 0, 0
	for _, p := range q.waiting {
		if bytes += p.bytes; len(dst) > 0 && (len(dst) == most || bytes > groupBytes) {
			break
		}
		n++
		if !p.abandoned {
			dst = append(dst, p)
		}
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	return dst
}

// finish tells the group, but for its leader, and makes the next one's first
// the leader.
func (q *queue) finish(group []*pending, leader *pending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range group {
		if p != leader {
			p.turn <- done
		}
	}
	for len(q.waiting) > 0 && q.waiting[0].abandoned {
		q.waiting = q.waiting[1:]
	}
	if len(q.waiting) == 0 {
		q.busy = false
		q.idle.Broadcast()
		return
	}
	q.waiting[0].turn <- lead
}

// close refuses what comes, and waits for what is there.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.busy {
		q.idle.Wait()
	}
}
