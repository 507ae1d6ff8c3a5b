package topic

import "sync/atomic"

// A Form is an encoding of events: the part of a transport that all of its
// subscribers share. Forms are compared with ==, so use pointers or small
// comparable values. Methods may be called at the same time.
type Form interface {
	// AppendEvent appends the event.
	AppendEvent(dst []byte, e *Event) []byte
	// AppendSignal appends the signal. It may append nothing.
	AppendSignal(dst []byte, s Signal) []byte
}

// A Signal is what the system tells a subscriber between events.
type Signal struct {
	Type   string // TypePing, TypeGap or TypeEnd
	Cursor Cursor // where to go on from; the zero Cursor if it is not to be said
	Data   []byte // JSON, never empty
}

// An Entry is an event in the log with the bytes that were made of it.
type Entry struct {
	Event
	encoded atomic.Pointer[encoding]
}

// encoding is a node of an entry's list of encodings; there are few.
type encoding struct {
	form  Form
	bytes []byte
	next  *encoding
}

// sealed in place of the list says that no more bytes are to be kept: the
// entry is old, and whoever still reads it does so alone.
var sealed = new(encoding)

// Encode returns the entry in the given form. The bytes are shared: nobody may
// change them.
func (e *Entry) Encode(f Form) []byte {
	var b []byte
	for {
		head := e.encoded.Load()
		for n := head; n != nil; n = n.next {
			if n.form == f { // maybe made by another meanwhile: that one is kept
				return n.bytes
			}
		}
		if b == nil {
			b = e.encode(f)
		}
		if head == sealed || e.encoded.CompareAndSwap(head, &encoding{f, b, head}) {
			return b
		}
	}
}

func (e *Entry) encode(f Form) []byte {
	if e.IsEnd() {
		return f.AppendSignal(nil, endSignal(e.Topic, e.ID))
	}
	return f.AppendEvent(nil, &e.Event)
}

// Supersede marks an entry that a later one has superseded, by the rule of its
// topic. The log calls it.
func (e *Entry) Supersede() { atomic.StoreUint32(&e.superseded, 1) }

// Superseded reports whether the entry is marked.
func (e *Entry) Superseded() bool { return atomic.LoadUint32(&e.superseded) != 0 }

// seal lets go of the encodings and keeps no further ones.
func (e *Entry) seal() { e.encoded.Store(sealed) }
