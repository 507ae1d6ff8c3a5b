package topic

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/duplexhq/duplex/internal/jsonscan"
)

// An Envelope is an event or a signal as its JSON says it.
type Envelope struct {
	ID    string    // a Cursor's text; "" in a signal that says no cursor
	Topic string    // "" in a signal
	Type  string    // "" is TypeMessage
	Media string    // "" if it was left out: see Kind
	Data  []byte    // decoded, in memory of its own
	Time  time.Time // zero in a signal
	Kind  Kind
}

// ParseEnvelope reads what [AppendJSON] and [AppendSignalJSON] write. Unknown
// members are ignored, so that later versions may add some.
//
// Data is binary if the envelope says so, JSON if it is no string or has a
// media type of JSON, else text.
func ParseEnvelope(line []byte) (Envelope, error) {
	e, err := parseEnvelope(line)
	if err != nil {
		return Envelope{}, fmt.Errorf("parse envelope: %w", err)
	}
	return e, nil
}

func parseEnvelope(line []byte) (e Envelope, err error) {
	var data []byte // raw
	var binary bool
	for m, err := range jsonscan.Members(line) {
		if err != nil {
			return e, err
		}
		switch key := string(m.Key); key {
		case "id":
			e.ID, err = jsonscan.String(m.Value)
		case "topic":
			e.Topic, err = jsonscan.String(m.Value)
		case "event":
			e.Type, err = jsonscan.String(m.Value)
		case "media":
			e.Media, err = jsonscan.String(m.Value)
		case "time":
			e.Time, err = parseTime(m.Value)
		case "binary":
			binary, err = parseBool(m.Value)
		case "data":
			data = m.Value
		}
		if err != nil {
			return e, fmt.Errorf("member %q: %w", m.Key, err)
		}
	}
	if data == nil {
		return e, errors.New("no data")
	}
	if e.Type == TypeMessage {
		e.Type = ""
	}
	err = e.decode(data, binary)
	return e, err
}

// decode sets what the raw data says, with the media type already set.
func (e *Envelope) decode(raw []byte, binary bool) error {
	if !binary && (!isString(raw) || saysJSON(baseMedia(e.Media))) {
		e.Kind, e.Data = JSON, bytes.Clone(raw)
		return nil
	}
	data, err := jsonscan.AppendString(make([]byte, 0, len(raw)), raw)
	if err != nil {
		return fmt.Errorf(`member "data": %w`, err)
	}
	if !binary {
		e.Kind, e.Data = Text, data
		return nil
	}
	media, data, err := parseDataURL(data)
	if err != nil {
		return err
	}
	e.Kind, e.Data = Binary, data
	if e.Media == "" {
		e.Media = media
	}
	return nil
}

var errDataURL = errors.New("data is not a base64 data URL")

// parseDataURL reads what AppendDataURL writes.
func parseDataURL(u []byte) (media string, data []byte, err error) {
	head, body, ok := bytes.Cut(u, []byte{','})
	head, isData := bytes.CutPrefix(head, []byte("data:"))
	head, isBase64 := bytes.CutSuffix(head, []byte(";base64"))
	if !ok || !isData || !isBase64 {
		return "", nil, errDataURL
	}
	if media, err = url.PathUnescape(string(head)); err != nil {
		return "", nil, errDataURL
	}
	if data, err = base64.StdEncoding.AppendDecode(nil, body); err != nil {
		return "", nil, errDataURL
	}
	return string([]rune(media)), data, nil // U+FFFD for what is not UTF-8, as in "media"
}

func parseTime(raw []byte) (time.Time, error) {
	s, err := jsonscan.String(raw)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err
}

func parseBool(raw []byte) (bool, error) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("neither true nor false")
}

// DraftFromJSON makes a draft of a JSON value that came inside of another: a
// string is published as the text that it says, as text/plain, all else as
// application/json. What is not one JSON value, or a string that is not
// Unicode text, gives ErrNotJSON. The draft does not share memory with value.
func DraftFromJSON(typ string, value []byte) (Draft, error) {
	value = bytes.Trim(value, jsonSpace)
	if !isString(value) {
		return NewDraft(typ, mediaJSON, bytes.Clone(value))
	}
	text, err := jsonscan.AppendString(make([]byte, 0, len(value)), value)
	if err != nil {
		return Draft{}, ErrNotJSON
	}
	return NewDraft(typ, "text/plain", text)
}
