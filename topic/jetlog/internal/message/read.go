package message

import (
	"time"

	"github.com/duplexhq/duplex/topic"
)

// Message reads a message. What it gives aliases the bytes that it reads.
type Message struct {
	First  uint64
	Nanos  int64
	Shared bool // it has a link
	Link   Link
	Fields
}

// ReadCarried calls f with each message in a message of the store of old entries.
func ReadCarried(b []byte, f func(*Message) error) error {
	all := Fields{Rest: b}
	if version := all.Take(1); all.Err == nil && version[0] != carriedVersion {
		all.fail()
	}
	for all.Err == nil && len(all.Rest) > 0 {
		if m := Read(all.Text()); m.Err != nil {
			all.Err = m.Err
		} else {
			all.Err = f(&m)
		}
	}
	return all.Err
}

// Append is one append of a message. It lacks the entries of an ephemeral topic,
// and says only how many there were.
type Append struct {
	Topic  []byte
	Key    topic.Key
	Unkept int
	Drafts []topic.Draft // reused by the next one
}

// Read begins to read a message.
func Read(b []byte) Message {
	m := Message{Fields: Fields{Rest: b}}
	if version := m.Take(1); m.Err == nil {
		m.Shared = version[0] == sharedVersion
		if !m.Shared && version[0] != formatVersion {
			m.fail()
		}
	}
	m.First = m.Number()
	m.Nanos = int64(m.fixed())
	if m.Shared {
		m.Link = Link{ID: m.fixed(), Before: m.fixed(), After: m.Number(), Epoch: m.Number(), Clock: m.Number()}
	}
	return m
}

// Next reads the next append. It returns false at the end and after an error.
func (m *Message) Next(a *Append) bool {
	if m.Err != nil || len(m.Rest) == 0 {
		return false
	}
	flags := m.Take(1)[0]
	*a = Append{Topic: m.Text(), Drafts: a.Drafts[:0]}
	if flags&flagKey != 0 {
		a.Key.Value = string(m.Text())
		copy(a.Key.Digest[:], m.Take(len(a.Key.Digest)))
	}
	n := m.Number()
	if len(a.Topic) == 0 || n == 0 || n > maxEntries {
		m.fail()
	}
	if flags&flagUnkept != 0 {
		a.Unkept = int(n)
		return m.Err == nil
	}
	for ; n > 0 && m.Err == nil; n-- {
		a.Drafts = append(a.Drafts, m.draft())
	}
	return m.Err == nil
}

func (m *Message) draft() topic.Draft {
	b := m.Take(1)
	if m.Err != nil {
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
	d := topic.Draft{Kind: topic.Kind(kind), Type: string(m.Text())}
	switch {
	case int(media) < len(commonMedia):
		d.Media = commonMedia[media]
	case media == otherMedia:
		d.Media = string(m.Text())
	default:
		m.fail()
	}
	d.Data = m.Text()
	return d
}

// Entry makes the entry of a draft of the message.
func (m *Message) Entry(id topic.ID, name string, d topic.Draft) *topic.Entry {
	return &topic.Entry{Event: topic.NewEvent(id, name, d, time.Unix(0, m.Nanos))}
}
