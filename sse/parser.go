package sse

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"time"
)

// DefaultMaxEventBytes is the limit of a Parser that sets none: 1 MiB.
const DefaultMaxEventBytes = 1 << 20

// TooBigError says that an event is above the limit. The stream cannot be read
// on, since what follows would be the rest of that event.
type TooBigError struct {
	Limit int // bytes
}

func (e *TooBigError) Error() string {
	return fmt.Sprintf("sse: event is larger than %d bytes", e.Limit)
}

// Parser interprets one event stream (HTML §9.2.5 and §9.2.6): bytes go in,
// events come out. It does no I/O.
//
// The zero value is ready. The exported fields may be set before the first Feed
// and read after any. A new stream needs a new Parser. The end of a stream
// needs no call: an event without its blank line is dropped (§9.2.6).
type Parser struct {
	// MaxEventBytes bounds what one event may make the parser hold: its data,
	// type and id together, in bytes as received. If zero,
	// DefaultMaxEventBytes is used. If negative, there is no limit.
	MaxEventBytes int

	// Comment, if not nil, is called from Feed with the text of each comment,
	// valid during the call; comments then count against MaxEventBytes.
	// Otherwise they are skipped, however long.
	Comment func(text []byte)

	// LastEventID is the id to go on after: the newest of a complete block,
	// with data or without. If set beforehand, events have it until the stream
	// gives another.
	//
	// The letter of §9.2.6 begins each stream with an empty one. Then the first
	// blank line after a reconnection would forget the position; browsers keep
	// it, and so should the caller.
	LastEventID string

	// Retry is the reconnection time: as set beforehand, until a retry field
	// sets another.
	Retry time.Duration

	started int  // bytes of a byte order mark seen; all of it once past the start
	afterCR bool // a LF that comes first still belongs to the last line's end

	// The line so far.
	field field
	name  []byte // of the field, up to the colon, at most longestName and one
	value []byte // of a field that acts at the line's end; data goes to data
	begun bool   // value or data has its first byte, or a space was left out

	// The block so far: the standard's buffers.
	data    []byte
	hasData bool
	typ     []byte
	id      []byte
	hasID   bool

	lastType string // saves making the same string for each event
	err      error  // a *TooBigError, for good
}

// field is what the line at hand is about.
type field uint8

const (
	fieldUnnamed field = iota // no colon yet, and no end of the line
	fieldIgnored
	fieldComment
	fieldData
	fieldEvent
	fieldID
	fieldRetry
)

const (
	longestName = len("event")

	byteOrderMark = "\xEF\xBB\xBF"

	// keptBytes is the most that stays allocated for data between events.
	keptBytes = 64 << 10
)

// Feed returns the events that chunk completes, to be iterated over once. A
// chunk may end anywhere, also within a character or between CR and LF.
//
// Event.Data is valid until the next step. An event above MaxEventBytes gives
// a *TooBigError, at once and in every later Feed. A loop that is left early
// loses the rest of its chunk.
func (p *Parser) Feed(chunk []byte) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		rest := p.skipByteOrderMark(chunk)
		for len(rest) > 0 && p.err == nil {
			if p.afterCR {
				p.afterCR = false
				if rest[0] == '\n' {
					rest = rest[1:]
					continue
				}
			}
			end := bytes.IndexAny(rest, "\r\n")
			if end < 0 {
				p.take(rest)
				break
			}
			p.take(rest[:end])
			p.afterCR = rest[end] == '\r'
			rest = rest[end+1:]
			if p.err == nil && p.endLine() && !p.dispatch(yield) {
				return
			}
		}
		if p.err != nil {
			yield(Event{}, p.err)
		}
	}
}

// skipByteOrderMark leaves out the one that a stream may begin with.
func (p *Parser) skipByteOrderMark(chunk []byte) []byte {
	for p.started < len(byteOrderMark) && len(chunk) > 0 {
		if chunk[0] != byteOrderMark[p.started] {
			p.take([]byte(byteOrderMark[:p.started])) // it was none
			p.started = len(byteOrderMark)
			break
		}
		p.started++
		chunk = chunk[1:]
	}
	return chunk
}

// take adds a part of a line, without its end.
func (p *Parser) take(part []byte) {
	if p.field == fieldUnnamed {
		name, value, found := bytes.Cut(part, []byte(":"))
		// One byte more than the longest name shows that it is none of ours.
		p.name = append(p.name, name[:min(len(name), longestName+1-len(p.name))]...)
		if !found {
			return
		}
		p.endName()
		part = value
	}
	if !p.begun && len(part) > 0 {
		p.begun = true
		// "If value starts with a U+0020 SPACE character, remove it from value."
		part = bytes.TrimPrefix(part, []byte(" "))
	}
	switch p.field {
	case fieldIgnored:
	case fieldData:
		p.data = p.hold(p.data, part)
	default:
		p.value = p.hold(p.value, part)
	}
}

// endName decides what the line is about.
func (p *Parser) endName() {
	p.field = fieldIgnored
	switch string(p.name) {
	case "":
		if p.Comment != nil {
			p.field = fieldComment
		}
	case "data":
		p.field = fieldData
		// The standard ends each data line with a LF and takes off the last.
		if p.hasData {
			p.data = p.hold(p.data, []byte("\n"))
		}
		p.hasData = true
	case "event":
		p.field = fieldEvent
	case "id":
		p.field = fieldID
	case "retry":
		p.field = fieldRetry
	}
}

// hold appends part to buf, one of the parser's own, if the limit allows.
func (p *Parser) hold(buf, part []byte) []byte {
	limit := p.MaxEventBytes
	if limit == 0 {
		limit = DefaultMaxEventBytes
	}
	held := len(p.data) + len(p.typ) + len(p.id) + len(p.value)
	if limit > 0 && len(part) > limit-held {
		p.err = &TooBigError{Limit: limit}
		return buf
	}
	return append(buf, part...)
}

// endLine processes the line (HTML §9.2.6) and reports whether it completes an
// event.
func (p *Parser) endLine() bool {
	if p.field == fieldUnnamed {
		if len(p.name) == 0 {
			return p.endBlock()
		}
		p.endName() // "the whole line as the field name, and the empty string as the field value"
	}
	switch p.field {
	case fieldComment:
		p.Comment(toUTF8(p.value))
	case fieldEvent:
		p.typ, p.value = p.value, p.typ
	case fieldID:
		// "If the field value does not contain U+0000 NULL"
		if bytes.IndexByte(p.value, 0) < 0 {
			p.id, p.value = p.value, p.id
			p.hasID = true
		}
	case fieldRetry:
		if retry, ok := parseRetry(p.value); ok {
			p.Retry = retry
		}
	}
	p.field, p.name, p.value, p.begun = fieldUnnamed, p.name[:0], p.value[:0], false
	return false
}

// endBlock processes a blank line and reports whether there is data to dispatch.
func (p *Parser) endBlock() bool {
	if p.hasID {
		p.LastEventID = string(toUTF8(p.id))
		p.id, p.hasID = p.id[:0], false
	}
	if !p.hasData {
		p.typ = p.typ[:0]
	}
	return p.hasData
}

// dispatch gives the event to yield and begins the next block.
func (p *Parser) dispatch(yield func(Event, error) bool) bool {
	event := Event{ID: p.LastEventID, Type: message, Data: toUTF8(p.data)}
	if len(p.typ) > 0 {
		if typ := toUTF8(p.typ); string(typ) != p.lastType {
			p.lastType = string(typ)
		}
		event.Type = p.lastType
	}
	more := yield(event, nil)

	p.typ, p.data, p.hasData = p.typ[:0], p.data[:0], false
	if cap(p.data) > keptBytes {
		p.data = nil
	}
	return more
}

// parseRetry reads a value that "consists of only ASCII digits", in
// milliseconds. One that is too large for a Duration counts as the largest.
func parseRetry(value []byte) (time.Duration, bool) {
	const most = math.MaxInt64 / int64(time.Millisecond)
	var ms int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		ms = min(most, ms*10+int64(c-'0'))
	}
	return time.Duration(ms) * time.Millisecond, len(value) > 0
}
