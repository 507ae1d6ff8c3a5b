package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// What is on disks has to be read by every later version.
func TestForm(t *testing.T) {
	drafts := []topic.Draft{
		{Type: "made", Media: "application/json", Data: []byte("{}"), Kind: topic.JSON},
		{Media: "image/png", Data: []byte{0}, Kind: topic.Binary},
		topic.EndDraft(),
	}
	key := topic.Key{Value: "k", Digest: [32]byte{1, 31: 2}}
	for name, tt := range map[string]struct {
		got  []byte
		want string
	}{
		"appends": {
			AppendUnkept(AppendDrafts(AppendHeader(nil, 300, 1), "a/b", drafts, key), "c", 2, topic.Key{}),
			"01" + "ac02" + "0100000000000000" +
				"01" + "03612f62" + "016b" + "0100000000000000000000000000000000000000000000000000000000000002" + "03" +
				"21" + "046d616465" + "027b7d" + // JSON
				"f2" + "00" + "09696d6167652f706e67" + "0100" + // binary, with its media type
				"0f" + // the end
				"02" + "0163" + "02",
		},
		"shared": {
			AppendDrafts(AppendSharedHeader(nil, 1, 2, Link{ID: 3, Before: 4, After: 5, Epoch: 6, Clock: 7}), "a", drafts[2:], topic.Key{}),
			"03" + "01" + "0200000000000000" + "0300000000000000" + "0400000000000000" + "05" + "06" + "07" + "00" + "0161" + "01" + "0f",
		},
		"carried": {
			AppendCarried(BeginCarried(), &topic.Entry{Event: topic.NewEvent(topic.ID{}, "x", drafts[0], time.Unix(0, 1))}, 9, "a"),
			"02" + "17" + "01" + "09" + "0100000000000000" + "00" + "0161" + "01" + "21" + "046d616465" + "027b7d",
		},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestCarried(t *testing.T) {
	b := BeginCarried()
	for seq, data := range []string{"x", "y"} {
		e := &topic.Entry{Event: topic.NewEvent(topic.ID{}, "a", topic.Draft{Data: []byte(data)}, time.Unix(0, 5))}
		b = AppendCarried(b, e, uint64(seq), "a")
	}
	read := func(b []byte) (data []byte, err error) {
		var a Append
		err = ReadCarried(b, func(m *Message) error {
			if m.First != uint64(len(data)) || m.Nanos != 5 {
				t.Errorf("entry %d of %d", m.First, m.Nanos)
			}
			for m.Next(&a) {
				data = append(data, a.Drafts[0].Data...)
			}
			return m.Err
		})
		return data, err
	}
	if data, err := read(b); err != nil || !bytes.Equal(data, []byte("xy")) {
		t.Errorf("%q, %v", data, err)
	}
	for name, b := range map[string][]byte{"another version": AppendHeader(nil, 1, 1), "cut": b[:len(b)-1], "nothing": nil} {
		if _, err := read(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
