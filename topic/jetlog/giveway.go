package jetlog

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// A node for which the server is far away would always come too late, as those
// that are near it know sooner what came last. So who was too late a few times
// asks the others to give way, for as long as its message needs.
const (
	lossesMost = 4
	yieldMost  = 100 * time.Millisecond
)

// count counts a message that was stored, or came too late.
func (r *remote) count(stored bool) {
	if r.losses++; stored {
		r.losses = 0
	}
	if r.losses >= lossesMost {
		// Nothing depends on it.
		r.stream.writes.Publish(r.subjects+turnSubject, fmt.Appendf(nil, "%d %d", r.node, 2*r.took))
	}
}

// yield notes that another node asks for its turn.
func (r *remote) yield(m *nats.Msg) {
	var node uint64
	var long time.Duration
	if _, err := fmt.Sscan(string(m.Data), &node, &long); err != nil || node == r.node {
		return
	}
	at := r.log.messages()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.yieldFrom, r.yieldTo = at, time.Now().Add(min(long, yieldMost))
}

// giveWay lets another node come first that has asked for it.
func (r *remote) giveWay() {
	r.mu.Lock()
	from, long := r.yieldFrom, time.Until(r.yieldTo)
	r.mu.Unlock()
	if long > 0 && r.losses < lossesMost { // else it is this node's turn as well
		r.await(long, nil, func() bool { return r.log.messages() > from })
	}
}
