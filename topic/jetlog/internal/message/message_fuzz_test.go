package message

import (
	"bytes"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

// FuzzMessage checks that anything can be read without harm, and that what is
// read can be written and read again.
func FuzzMessage(f *testing.F) {
	drafts := []topic.Draft{
		{Type: "created", Media: "application/json", Data: []byte("{}"), Kind: topic.JSON},
		{Media: "image/png", Data: []byte{0, 1}, Kind: topic.Binary},
		topic.EndDraft(),
	}
	m := AppendHeader(nil, 7, 1234567890)
	f.Add(AppendDrafts(m, "a/b", drafts, topic.NewKey("key", drafts)))
	f.Add(AppendDrafts(AppendUnkept(m, "a", 3, topic.Key{}), "b", drafts[2:], topic.Key{}))
	f.Add(AppendDrafts(AppendSharedHeader(nil, 7, 1234567890, Link{1, 2, 3, 4, 5}), "a/b", drafts, topic.Key{}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Read(b)
		again := headerAgain(&m)
		var a Append
		for m.Next(&a) {
			if a.Unkept > 0 {
				again = AppendUnkept(again, string(a.Topic), a.Unkept, a.Key)
			} else {
				again = AppendDrafts(again, string(a.Topic), a.Drafts, a.Key)
			}
		}
		if m.Err != nil {
			return
		}
		m = Read(again)
		twice := headerAgain(&m)
		for m.Next(&a) {
			if a.Unkept > 0 {
				twice = AppendUnkept(twice, string(a.Topic), a.Unkept, a.Key)
			} else {
				twice = AppendDrafts(twice, string(a.Topic), a.Drafts, a.Key)
			}
		}
		if m.Err != nil || !bytes.Equal(again, twice) {
			t.Fatalf("%x was read as %x, and that as %x, error %v", b, again, twice, m.Err)
		}
	})
}

func headerAgain(m *Message) []byte {
	if m.Shared {
		return AppendSharedHeader(nil, m.First, m.Nanos, m.Link)
	}
	return AppendHeader(nil, m.First, m.Nanos)
}
