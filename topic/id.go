package topic

import (
	"errors"
	"strconv"
	"strings"
)

// An ID names an event. Its text is EPOCH-SEQ, of which clients may know that
// SEQ grows within an epoch, and no more (PROTOCOL.md §4.1).
//
// The epoch changes when a log is lost, replaced or rolled back, so that an id
// of another log is recognised. Seq counts the events of the log from 1.
type ID struct {
	Epoch uint64 // never 0 in the id of an event
	Seq   uint64
}

// AppendTo appends the text of the id to dst.
func (id ID) AppendTo(dst []byte) []byte {
	dst = strconv.AppendUint(dst, id.Epoch, 36)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, id.Seq, 10)
}

func (id ID) String() string { return string(id.AppendTo(make([]byte, 0, 24))) }

// A Cursor says how far a reader has come: it has been given everything up to
// and including Seq. Its text is that of an [ID], with a third part if Told is
// set, so every id is also a cursor.
//
// The zero Cursor is of no log: reading after it is always a gap.
type Cursor struct {
	ID
	// Told is the log's loss clock (see [Log]) when the reader was last told
	// of a gap. It matters only to a reader of several topics whose kept and
	// lost events interleave, and is 0 whenever Seq says enough.
	Told uint64
}

// AppendTo appends the text of the cursor to dst.
func (c Cursor) AppendTo(dst []byte) []byte {
	dst = c.ID.AppendTo(dst)
	if c.Told != 0 {
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, c.Told, 10)
	}
	return dst
}

func (c Cursor) String() string { return string(c.AppendTo(make([]byte, 0, 32))) }

// Advance moves the cursor forward to seq of its own log. A loss clock that
// the new position has passed is dropped.
func (c Cursor) Advance(to ID) Cursor {
	c.ID = to
	if c.Told <= c.Seq {
		c.Told = 0
	}
	return c
}

var errCursor = errors.New("topic: malformed cursor")

// ParseCursor reads the text of an id or a cursor. It accepts exactly what
// [Cursor.AppendTo] makes.
func ParseCursor(s string) (Cursor, error) {
	epoch, rest, ok := strings.Cut(s, "-")
	if !ok {
		return Cursor{}, errCursor
	}
	seq, told, hasTold := strings.Cut(rest, "-")
	c := Cursor{}
	if c.Epoch, ok = parseUint(epoch, 36); !ok || c.Epoch == 0 {
		return Cursor{}, errCursor
	}
	if c.Seq, ok = parseUint(seq, 10); !ok {
		return Cursor{}, errCursor
	}
	if hasTold {
		if c.Told, ok = parseUint(told, 10); !ok || c.Told <= c.Seq {
			return Cursor{}, errCursor
		}
	}
	return c, nil
}

// parseUint is strconv.ParseUint for canonical text only: no sign, underscore,
// upper case or leading zero.
func parseUint(s string, base int) (uint64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}
