package topic

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Types of the signals: what the system says to subscribers, in the form of
// events (PROTOCOL.md §6.1). No published event may have a type that
// begins with "$".
const (
	TypeMessage = "message" // what an event without a type is
	TypePing    = "$ping"
	TypeGap     = "$gap"
	TypeEnd     = "$end"
)

// A Kind says how the data of an event travels. It belongs to the event, not
// to a transport.
type Kind uint8

const (
	Text   Kind = iota // valid UTF-8
	JSON               // one JSON value, valid UTF-8
	Binary             // any bytes; base64 on transports that carry text only
)

// An Event is one entry of a topic's log. It is immutable once appended:
// whoever has a pointer may read it at any time, nobody may change it.
type Event struct {
	ID    ID
	Topic string
	Type  string // "" is TypeMessage
	Media string // Content-Type as published, "" if none
	Data  []byte
	nanos int64 // Unix time
	Kind  Kind
	// superseded is 1 if it is, and is read and written atomically. A type of
	// package atomic must not be copied, and would make an event longer.
	superseded uint32
}

// Time is when the log took the event.
func (e *Event) Time() time.Time { return time.Unix(0, e.nanos).UTC() }

// IsEnd reports whether the entry is the end of its topic rather than an event.
func (e *Event) IsEnd() bool { return e.Type == TypeEnd }

// A Draft is an event that has not been appended yet. The log keeps Data: its
// maker must not change it afterwards.
type Draft struct {
	Type  string
	Media string
	Data  []byte
	Kind  Kind
}

// EndDraft returns the draft whose append ends the topic.
func EndDraft() Draft { return Draft{Type: TypeEnd} }

// IsEnd reports whether appending the draft ends the topic.
func (d *Draft) IsEnd() bool { return d.Type == TypeEnd && d.Data == nil }

// NewEvent makes the event that a log keeps for a draft.
func NewEvent(id ID, topic string, d Draft, now time.Time) Event {
	return Event{ID: id, Topic: topic, Type: d.Type, Media: d.Media, Data: d.Data, Kind: d.Kind, nanos: now.UnixNano()}
}

// CheckType refuses event types that nobody may publish: those of the system
// ("$...") and those that an event stream cannot carry.
func CheckType(t string) error {
	switch {
	case t == "":
		return nil
	case strings.HasPrefix(t, "$"):
		return &TypeError{t, `begins with "$", which only the system's own may`}
	case strings.ContainsAny(t, "\r\n\x00"):
		return &TypeError{t, "holds CR, LF or NUL"}
	case !utf8.ValidString(t):
		return &TypeError{t, "is not valid UTF-8"}
	case len(t) > MaxTypeBytes:
		return &TypeError{t, "is longer than 255 bytes"}
	}
	return nil
}

// MaxTypeBytes bounds the type of an event.
const MaxTypeBytes = 255

// A TypeError says why an event type cannot be published.
type TypeError struct{ Type, Reason string }

func (e *TypeError) Error() string { return "topic: event type " + quote(e.Type) + " " + e.Reason }

// NewDraft classifies the data by its media type: text/*, JSON, XML, forms and
// no type at all are text if they are valid UTF-8; all else is binary. A
// missing media type is filled in. Data of type application/json that is not
// one JSON value gives ErrNotJSON.
func NewDraft(typ, media string, data []byte) (Draft, error) {
	d := Draft{Type: typ, Media: media, Data: data, Kind: Binary}
	if typ == TypeMessage {
		d.Type = ""
	}
	if media == "" {
		d.Media = "application/octet-stream"
		if utf8.Valid(data) {
			d.Media, d.Kind = "text/plain", Text
		}
		return d, nil
	}
	base := baseMedia(media)
	switch {
	case base == mediaJSON:
		if !utf8.Valid(data) || !validJSON(data) {
			return d, ErrNotJSON
		}
		d.Kind = JSON
	case strings.HasSuffix(base, "+json"):
		if utf8.Valid(data) {
			d.Kind = Text
			if validJSON(data) {
				d.Kind = JSON
			}
		}
	case strings.HasPrefix(base, "text/"), base == "application/xml", strings.HasSuffix(base, "+xml"),
		base == mediaForm, base == "multipart/form-data":
		if utf8.Valid(data) {
			d.Kind = Text
		}
	}
	return d, nil
}

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// baseMedia is the media type without its parameters, in lower case.
func baseMedia(media string) string {
	base, _, _ := strings.Cut(media, ";")
	return strings.ToLower(strings.TrimSpace(base))
}
