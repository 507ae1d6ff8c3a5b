package jetlog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// A Log is a [topic.Log] on a stream of JetStream.
type Log struct {
	opts   Options
	epochs index.Epochs
	store  store
	remote *remote            // the way to a stream that other nodes use, too; nil for an embedded one
	mark   *mark              // of what is acknowledged; nil without a data directory
	old    store              // entries that were carried out of the way; see Log.reclaim
	closer func(l *Log) error // of what the store is in
	// subjects says that messages which hold events of one topic go to its own
	// subject, where other programs and nodes can filter them. The server
	// keeps some 180 bytes for each, so who does not need it does without.
	subjects bool

	queue   queue
	unswept int // bytes written since the last sweep; of the queue's leader

	// applying is held while a group is made part of the log, until the
	// watcher has returned. So the watcher sees the order of the log, and
	// readers do not wait for it. It is locked before mu.
	applying sync.Mutex
	watcher  func([]*topic.Entry) // guarded by applying

	mu     sync.RWMutex // guards what follows
	index  *index.Index
	tail   tail
	closed bool
	// failed is why nothing can be appended any more: the store has said
	// neither yes nor no.
	failed error

	// Of the sweeper.
	slack     uint64    // of the disk, beyond twice what is needed
	carriedAt time.Time // when it has last carried something

	sweeping  chan struct{} // has room for one request
	closing   chan struct{}
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

var _ topic.Log = (*Log)(nil)

// idleLog makes a log of an index that is up to date with the store, without
// its goroutines.
func idleLog(opts Options, s, old store, x *index.Index, e index.Epochs) *Log {
	l := &Log{
		opts:     opts,
		store:    s,
		old:      old,
		slack:    diskSlack,
		closer:   func(*Log) error { return nil },
		epochs:   e,
		index:    x,
		tail:     tail{most: opts.TailBytes},
		sweeping: make(chan struct{}, 1),
		closing:  make(chan struct{}),
	}
	l.queue.idle.L = &l.queue.mu
	return l
}

// Close stops the log. What was appended is on the disk when it returns.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		if l.remote != nil {
			l.remote.leave()
		}
		l.queue.close()
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.closing)
		l.wg.Wait()
		l.closeErr = l.closer(l)
		l.mu.Lock()
		defer l.mu.Unlock()
		end, clock := l.index.End, l.index.Clock
		l.index, l.tail = index.New(&l.opts.Bounds), tail{}
		l.index.End, l.index.Clock = end, clock
	})
	return l.closeErr
}

// End is the id of the newest entry.
func (l *Log) End() topic.ID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.id(l.index.End)
}

// Knows reports whether the cursor is of this log, and neither it nor what it
// was told of lies in the future. A cursor that another node has given may be
// ahead of this one: then Knows waits until this one has come as far as the
// stream. If that takes longer than catchUpPatience, it is ErrUnavailable.
func (l *Log) Knows(ctx context.Context, c topic.Cursor) (bool, error) {
	if l.knows(c) {
		return true, nil
	}
	if l.remote == nil || c.Epoch != l.epochs.Newest() {
		return false, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, catchUpPatience, errCatchUp)
	defer cancel()
	if err := l.remote.catchUp(ctx); err != nil || l.knows(c) {
		return err == nil, err
	}
	// Who has answered may have been the leader before, and not know it yet. A
	// message of this node's own settles it.
	err := l.settle(ctx)
	return err == nil && l.knows(c), err
}

func (l *Log) knows(c topic.Cursor) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	end, known := l.epochs.End(c.Epoch, l.index.End)
	return known && c.Seq <= end && c.Told <= l.index.Clock
}

// id returns the id of a sequence number.
func (l *Log) id(seq uint64) topic.ID { return l.epochs.ID(seq) }

// Rules are those of the options.
func (l *Log) Rules() *topic.Rules { return l.opts.Rules }

// Watch sets the watcher. The slice that f gets is valid until f returns, the
// entries are for ever.
func (l *Log) Watch(f func([]*topic.Entry)) topic.ID {
	l.applying.Lock()
	defer l.applying.Unlock()
	l.watcher = f
	return l.End()
}

// rlock locks mu for reading, once nothing that is over age is left.
func (l *Log) rlock() error {
	for {
		l.mu.RLock()
		if l.closed {
			l.mu.RUnlock()
			return topic.ErrClosed
		}
		if l.remote != nil || time.Now().UnixNano() < l.index.Expires() {
			return nil
		}
		l.mu.RUnlock()
		l.expireSome()
	}
}

// expireSome reports whether it has left something that is over age.
func (l *Log) expireSome() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.index.Expire(time.Now().UnixNano())
}

// Ready returns why nothing can be appended now, or nil: ErrUnavailable, which
// passes, ErrFailed, which does not, or topic.ErrClosed.
func (l *Log) Ready() error {
	l.mu.RLock()
	closed, failed := l.closed, l.failed
	l.mu.RUnlock()
	switch {
	case closed:
		return topic.ErrClosed
	case failed != nil:
		return failed
	case l.remote != nil:
		return l.remote.unavailable(0)
	}
	return nil
}

// messages returns the number of the newest message.
func (l *Log) messages() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.Message
}

func (l *Log) isFailed() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.failed
}

// fail notes that nothing can be appended any more.
func (l *Log) fail(why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %w", ErrFailed, why)
		l.opts.Logger.Error("log has failed", "error", why)
	}
	return l.failed
}

// ErrFailed says that the log takes nothing more, lest the order be broken:
// the store has not said whether it has stored something, or an external stream
// is not what it was. What is there still can be read. Open the log anew to find
// out.
var ErrFailed error = &unavailable{"jetlog: the log takes no more events until it is opened anew"}

// unavailable is a topic.ErrUnavailable with a text of its own.
type unavailable struct{ text string }

func (e *unavailable) Error() string   { return e.text }
func (*unavailable) Is(err error) bool { return err == topic.ErrUnavailable }
