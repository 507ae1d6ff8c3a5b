package topic

// Observe has f called with all entries appended after the returned id, in the
// order of the log, each once, by one caller at a time, and before a subscriber
// is given them. nil says that some were missed, and that the log may be another
// one (Log.Watch). f must not block, call the hub or the log, nor keep the slice.
// A hub has one observer; nil is none. No call of the one before is left.
func (h *Hub) Observe(f func([]*Entry)) ID {
	h.tail.mu.Lock()
	defer h.tail.mu.Unlock()
	h.tail.observer = f
	return h.tail.end
}
