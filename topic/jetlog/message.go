package jetlog

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// A message of the stream holds one or more appends, which were stored
// together. Numbers are unsigned varints, and texts have their length before
// them, unless said otherwise:
//
//	version     1 byte, formatVersion
//	first       sequence number of the first entry; the others follow by one each
//	time        8 bytes, little endian: Unix nanoseconds, of all entries
//	appends, until the end of the message:
//	  flags     1 byte: flagKey, flagUnkept
//	  topic
//	  key       value, and 32 bytes of digest; with flagKey only
//	  count     of entries
//	  entries, not with flagUnkept:
//	    form    1 byte: kind in the lower half, media type in the upper one
//	    type    the rest not for the end of a topic
//	    media   for otherMedia only
//	    data
//
// A message of a stream that several nodes share begins with sharedVersion.
// Between the time and the appends it has
//
//	id          8 bytes, little endian: of the message
//	before      8 bytes: the id of the message before it
//	after       number of the message before it
//	epoch       of its entries
//	clock       the loss clock, once the message is part of the log
//
// It may hold no append, and is part of the log only if after is right: else
// its author has not known all that came before it (follow.go).
//
// A message of the store of old entries begins with carriedVersion. Then come,
// until its end, messages of the form above, each with its length before it:
// one for each entry, as these need not be consecutive.
const (
	formatVersion  = 1
	carriedVersion = 2
	sharedVersion  = 3

	flagKey    = 1
	flagUnkept = 2 // ephemeral: the entries have had their numbers, and are gone
	maxEntries = math.MaxInt32
	endKind    = 15 // in place of the kind: the end of the topic
	otherMedia = 15 // not one of commonMedia
)

// commonMedia are the media types that take no room. New ones may be added at
// the end, up to otherMedia.
var commonMedia = [...]string{"", "text/plain", "application/json", "application/octet-stream"}

var errMessage = errors.New("jetlog: a message of the stream is not in the format of this program")

// header appends the start of a message.
func appendHeader(dst []byte, first uint64, nanos int64) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, first)
	return binary.LittleEndian.AppendUint64(dst, uint64(nanos))
}

// A link is what a message of a shared stream says of the stream.
type link struct {
	id, before          uint64
	after, epoch, clock uint64
}

// appendSharedHeader appends the start of a message of a shared stream.
func appendSharedHeader(dst []byte, first uint64, nanos int64, k link) []byte {
	dst = appendHeader(dst, first, nanos)
	dst[0] = sharedVersion
	dst = binary.LittleEndian.AppendUint64(dst, k.id)
	dst = binary.LittleEndian.AppendUint64(dst, k.before)
	dst = binary.AppendUvarint(dst, k.after)
	dst = binary.AppendUvarint(dst, k.epoch)
	return binary.AppendUvarint(dst, k.clock)
}

// appendAppend appends one append to a message.
func appendAppend(dst []byte, name string, drafts []topic.Draft, key topic.Key) []byte {
	dst = appendName(dst, 0, name, key)
	dst = binary.AppendUvarint(dst, uint64(len(drafts)))
	for i := range drafts {
		dst = appendDraft(dst, &drafts[i])
	}
	return dst
}

// appendUnkept appends an append without its entries.
func appendUnkept(dst []byte, name string, entries int, key topic.Key) []byte {
	dst = appendName(dst, flagUnkept, name, key)
	return binary.AppendUvarint(dst, uint64(entries))
}

func appendName(dst []byte, flags byte, name string, key topic.Key) []byte {
	if key.Value == "" {
		return appendText(append(dst, flags), name)
	}
	dst = appendText(append(dst, flags|flagKey), name)
	dst = appendText(dst, key.Value)
	return append(dst, key.Digest[:]...)
}

func appendDraft(dst []byte, d *topic.Draft) []byte {
	if d.IsEnd() {
		return append(dst, endKind)
	}
	media := byte(otherMedia)
	for i, m := range commonMedia {
		if m == d.Media {
			media = byte(i)
		}
	}
	dst = append(dst, media<<4|byte(d.Kind))
	dst = appendText(dst, d.Type)
	if media == otherMedia {
		dst = appendText(dst, d.Media)
	}
	return appendText(dst, d.Data)
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// message reads a message. What it gives aliases the bytes that it reads.
type message struct {
	first  uint64
	nanos  int64
	shared bool // it has a link
	link   link
	rest   []byte
	err    error
}

// readCarried reads a message of the store of old entries.
func readCarried(b []byte) message {
	m := message{rest: b}
	if version := m.take(1); m.err == nil && version[0] != carriedVersion {
		m.fail()
	}
	return m
}

// carried returns the next message in it; false at the end and after an error.
func (m *message) carried() (message, bool) {
	if m.err != nil || len(m.rest) == 0 {
		return message{}, false
	}
	inner := readMessage(m.text())
	if m.err == nil {
		m.err = inner.err
	}
	return inner, m.err == nil
}

// appended is one append of a message.
type appended struct {
	topic  []byte
	key    topic.Key
	unkept int           // entries that are gone
	drafts []topic.Draft // reused by the next one
}

func readMessage(b []byte) message {
	m := message{rest: b}
	if version := m.take(1); m.err == nil {
		m.shared = version[0] == sharedVersion
		if !m.shared && version[0] != formatVersion {
			m.fail()
		}
	}
	m.first = m.number()
	m.nanos = int64(m.fixed())
	if m.shared {
		m.link = link{id: m.fixed(), before: m.fixed(), after: m.number(), epoch: m.number(), clock: m.number()}
	}
	return m
}

// next reads the next append. It returns false at the end and after an error.
func (m *message) next(a *appended) bool {
	if m.err != nil || len(m.rest) == 0 {
		return false
	}
	flags := m.take(1)[0]
	*a = appended{topic: m.text(), drafts: a.drafts[:0]}
	if flags&flagKey != 0 {
		a.key.Value = string(m.text())
		copy(a.key.Digest[:], m.take(len(a.key.Digest)))
	}
	n := m.number()
	if len(a.topic) == 0 || n == 0 || n > maxEntries {
		m.fail()
	}
	if flags&flagUnkept != 0 {
		a.unkept = int(n)
		return m.err == nil
	}
	for ; n > 0 && m.err == nil; n-- {
		a.drafts = append(a.drafts, m.draft())
	}
	return m.err == nil
}

func (m *message) draft() topic.Draft {
	b := m.take(1)
	if m.err != nil {
		return topic.Draft{}
	}
	if b[0] == endKind {
		return topic.EndDraft()
	}
	kind, media := b[0]&15, b[0]>>4
	if topic.Kind(kind) > topic.Binary {
		m.fail()
		return topic.Draft{}
	}
	d := topic.Draft{Kind: topic.Kind(kind), Type: string(m.text())}
	switch {
	case int(media) < len(commonMedia):
		d.Media = commonMedia[media]
	case media == otherMedia:
		d.Media = string(m.text())
	default:
		m.fail()
	}
	d.Data = m.text()
	return d
}

func (m *message) text() []byte { return m.take(m.length()) }

func (m *message) length() int {
	n := m.number()
	if n > uint64(len(m.rest)) {
		m.fail()
		return 0
	}
	return int(n)
}

func (m *message) number() uint64 {
	n, size := binary.Uvarint(m.rest)
	if size <= 0 {
		m.fail()
		return 0
	}
	m.rest = m.rest[size:]
	return n
}

// fixed reads a number of 8 bytes.
func (m *message) fixed() uint64 {
	b := m.take(8)
	if m.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (m *message) take(n int) []byte {
	if m.err != nil || n > len(m.rest) {
		m.fail()
		return nil
	}
	b := m.rest[:n:n]
	m.rest = m.rest[n:]
	return b
}

func (m *message) fail() {
	m.err = errMessage
	m.rest = nil
}

// entry makes the entry of a draft of the message.
func (m *message) entry(id topic.ID, name string, d topic.Draft) *topic.Entry {
	return &topic.Entry{Event: topic.NewEvent(id, name, d, time.Unix(0, m.nanos))}
}
