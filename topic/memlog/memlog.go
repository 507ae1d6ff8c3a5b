// Package memlog is the log in memory: fast, and gone with its process.
//
// Each topic has a ring of its entries, which serves reads by name. The order
// of the whole log is kept beside them as a list of sequence numbers, which
// serves patterns and says what is oldest. An entry that retention removes is
// let go at once, whoever its neighbours are.
package memlog

import (
	"context"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Options bound a [Log].
type Options = topic.Bounds

// EntryOverhead is what an event counts to Options.RetainBytes beyond its
// data: about what the log needs to keep it.
const EntryOverhead = 256

const sweepEvery = time.Minute

// A Log is a [topic.Log] in memory. Its methods never wait for anything but
// each other, so they look at their context only between the steps of a long
// search.
type Log struct {
	opts  Options
	epoch uint64

	// appending is held by one Append at a time until the watcher has
	// returned. So the watcher sees the order of the log, and readers do not
	// wait for it. It is locked before mu.
	appending sync.Mutex
	watcher   func([]*topic.Entry) // guarded by appending
	batch     []*topic.Entry       // guarded by appending; of the present Append

	mu         sync.RWMutex // guards what follows
	topics     map[string]*topicLog
	names      keep.Names[*topicLog]
	order      keep.Order[*topicLog]
	end        uint64 // the newest sequence number
	front      uint64 // no event up to here is left
	bytes      int64  // that count to RetainBytes
	ages       []*keep.Age
	expires    int64                 // the least of the ages'
	clock      uint64                // the loss clock
	newestLost uint64                // of any topic
	losses     keep.Order[*topicLog] // the known topics that have lost something, by when that was on the loss clock
	keys       keep.Keys
	closed     bool

	policies     []*keep.Policy
	policyOfRule map[*topic.Rule]uint16  // index into policies
	lostBeside   map[*topicLog]keep.Loss // the newest loss of topics that also have superseded entries removed
	newestOfType map[typeOf]*topic.Entry // of topics where an event supersedes those of its type

	closing chan struct{}
	wg      sync.WaitGroup
}

var _ topic.Log = (*Log)(nil)

// Open makes an empty log of a new epoch. opts may be nil. Close must be
// called.
func Open(opts *Options) *Log {
	if opts == nil {
		opts = new(Options)
	}
	l := &Log{
		opts:    keep.Default(*opts),
		epoch:   keep.NewEpoch(),
		topics:  make(map[string]*topicLog),
		expires: keep.Never,
		closing: make(chan struct{}),

		newestOfType: make(map[typeOf]*topic.Entry),
		lostBeside:   make(map[*topicLog]keep.Loss),
	}
	l.setPolicies()
	l.wg.Go(l.sweep)
	return l
}

// sweep frees what is over age in a log that nobody calls. Ends when closing
// is closed. Joined by Close.
func (l *Log) sweep() {
	every := int64(sweepEvery)
	for _, a := range l.ages {
		every = min(every, a.Limit)
	}
	ticker := time.NewTicker(time.Duration(every))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for l.expireSome() {
			}
		case <-l.closing:
			return
		}
	}
}

// Close forgets everything.
func (l *Log) Close() error {
	l.appending.Lock()
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.closing)
		l.watcher, l.batch = nil, nil
		l.topics, l.names, l.keys = nil, keep.Names[*topicLog]{}, keep.Keys{}
		l.order, l.losses = keep.Order[*topicLog]{}, keep.Order[*topicLog]{}
		l.newestOfType, l.lostBeside = nil, nil
		l.expires = keep.Never
	}
	l.mu.Unlock()
	l.appending.Unlock()
	l.wg.Wait()
	return nil
}

// End is the id of the newest entry.
func (l *Log) End() topic.ID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.id(l.end)
}

// Rules are those of the options.
func (l *Log) Rules() *topic.Rules { return l.opts.Rules }

// Ready is topic.ErrClosed after Close, and else nil.
func (l *Log) Ready() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return topic.ErrClosed
	}
	return nil
}

// Knows reports whether the cursor is of this log, and neither it nor what it
// was told of lies in the future.
func (l *Log) Knows(_ context.Context, c topic.Cursor) (bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.knows(c), nil
}

func (l *Log) knows(c topic.Cursor) bool {
	return c.Epoch == l.epoch && c.Seq <= l.end && c.Told <= l.clock
}

func (l *Log) id(seq uint64) topic.ID { return topic.ID{Epoch: l.epoch, Seq: seq} }
