package jetlog

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
	m := appendHeader(nil, 7, 1234567890)
	f.Add(appendAppend(m, "a/b", drafts, topic.NewKey("key", drafts)))
	f.Add(appendAppend(appendUnkept(m, "a", 3, topic.Key{}), "b", drafts[2:], topic.Key{}))
	f.Add(appendAppend(appendSharedHeader(nil, 7, 1234567890, link{1, 2, 3, 4, 5}), "a/b", drafts, topic.Key{}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := readMessage(b)
		again := headerAgain(&m)
		var a appended
		for m.next(&a) {
			if a.unkept > 0 {
				again = appendUnkept(again, string(a.topic), a.unkept, a.key)
			} else {
				again = appendAppend(again, string(a.topic), a.drafts, a.key)
			}
		}
		if m.err != nil {
			return
		}
		m = readMessage(again)
		twice := headerAgain(&m)
		for m.next(&a) {
			if a.unkept > 0 {
				twice = appendUnkept(twice, string(a.topic), a.unkept, a.key)
			} else {
				twice = appendAppend(twice, string(a.topic), a.drafts, a.key)
			}
		}
		if m.err != nil || !bytes.Equal(again, twice) {
			t.Fatalf("%x was read as %x, and that as %x, error %v", b, again, twice, m.err)
		}
	})
}

// FuzzSnapshot checks that no file does harm.
func FuzzSnapshot(f *testing.F) {
	o := (*Options)(nil).withDefaults()
	x := newIndex(&o)
	for i, name := range []string{"a", "b", "a"} {
		x.append(x.topics[name], name, &topic.Draft{Data: []byte("x")}, uint64(i+1), uint64(i+1), 1)
	}
	x.remember("a", topic.Key{Value: "k"}, 1, 1, 1)
	f.Add(x.snapshot(nil, &o)[:100])
	f.Fuzz(func(_ *testing.T, b []byte) {
		restore(sum(b), &o)
	})
}

func headerAgain(m *message) []byte {
	if m.shared {
		return appendSharedHeader(nil, m.first, m.nanos, m.link)
	}
	return appendHeader(nil, m.first, m.nanos)
}
