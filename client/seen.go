package client

import "github.com/duplexhq/duplex/topic"

// seen is how much of the log a subscription was given: up to which sequence of
// each epoch (PROTOCOL.md §4.1). What comes again, by whatever way, is known by
// that.
type seen map[uint64]uint64

// has reports whether it reaches a cursor.
func (s seen) has(cursor string) bool {
	at, ok := s.at(cursor)
	return ok && s[at.Epoch] >= at.Seq
}

// passed reports whether it lies beyond a cursor.
func (s seen) passed(cursor string) bool {
	at, ok := s.at(cursor)
	return ok && s[at.Epoch] > at.Seq
}

// add moves it to a cursor that it has not passed.
func (s seen) add(cursor string) {
	if at, err := topic.ParseCursor(cursor); err == nil {
		s[at.Epoch] = at.Seq
	}
}

// at is a cursor's place, if something of its epoch was seen.
func (s seen) at(cursor string) (topic.ID, bool) {
	c, err := topic.ParseCursor(cursor)
	_, ok := s[c.Epoch]
	return c.ID, err == nil && ok
}
