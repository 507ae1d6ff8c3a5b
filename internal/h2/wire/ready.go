package wire

// ready are the streams that have something to send and the room for it, by
// urgency.
type ready [lowestUrgency + 1]struct {
	serial, shared list // the first by id, the others in turn
	other          bool // whose turn it is
}

// put enters a stream.
func (r *ready) put(s *Stream) {
	if s.queued {
		return
	}
	s.queued = true
	if at := &r[s.priority.Urgency]; s.priority.Incremental {
		at.shared.append(s)
	} else {
		at.serial.insert(s)
	}
}

// remove is for a stream that was put there.
func (r *ready) remove(s *Stream) {
	at := &r[s.priority.Urgency]
	s.queued = false
	_ = at.serial.remove(s) || at.shared.remove(s)
}

// take gives the next, or nil. Where both kinds wait, neither waits for all of
// the other.
func (r *ready) take() *Stream {
	for i := range r {
		at := &r[i]
		for at.serial.first != nil || at.shared.first != nil {
			from := &at.serial
			if from.first == nil || at.other && at.shared.first != nil {
				from = &at.shared
			}
			at.other = !at.other
			s := from.shift()
			if s.queued = false; !s.over {
				return s
			}
		}
	}
	return nil
}

// empty reports whether there is none.
func (r *ready) empty() bool {
	for i := range r {
		if r[i].serial.first != nil || r[i].shared.first != nil {
			return false
		}
	}
	return true
}

// A list is one of streams.
type list struct{ first, last *Stream }

func (l *list) append(s *Stream) {
	if s.next = nil; l.first == nil {
		l.first = s
	} else {
		l.last.next = s
	}
	l.last = s
}

// insert keeps the order of ids.
func (l *list) insert(s *Stream) {
	if l.first == nil || l.last.id < s.id {
		l.append(s)
		return
	}
	at := &l.first
	for (*at).id < s.id {
		at = &(*at).next
	}
	s.next, *at = *at, s
}

// remove reports whether the stream was there.
func (l *list) remove(s *Stream) bool {
	var before *Stream
	for at := l.first; at != nil; before, at = at, at.next {
		if at != s {
			continue
		}
		if before == nil {
			l.first = s.next
		} else {
			before.next = s.next
		}
		if l.last == s {
			l.last = before
		}
		s.next = nil
		return true
	}
	return false
}

func (l *list) shift() *Stream {
	s := l.first
	if l.first = s.next; l.first == nil {
		l.last = nil
	}
	s.next = nil
	return s
}
