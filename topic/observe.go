package topic

import "sync"

// observation is of what the log's watcher is told, for one more than the hub's
// subscribers.
type observation struct {
	mu  sync.Mutex
	f   func([]*Entry) // or nil
	end ID             // of what was told
}

// Observe has f called with all entries appended after the returned id, in the
// order of the log, each once, by one caller at a time, and before a subscriber
// is given them. nil says that some were missed, and that the log may be another
// one (Log.Watch). f must not block, call the hub or the log, nor keep the slice.
// A hub has one observer; nil is none. No call of the one before is left.
func (h *Hub) Observe(f func([]*Entry)) ID {
	h.observation.mu.Lock()
	defer h.observation.mu.Unlock()
	h.observation.f = f
	return h.observation.end
}

func (o *observation) tell(entries []*Entry, end ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = end
	if o.f != nil {
		o.f(entries)
	}
}
