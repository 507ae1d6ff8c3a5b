package index

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// chained writes messages of a shared stream.
type chained struct {
	message.Link
	first uint64
	nanos int64
}

// message makes the next message, of one event to each topic. Its number is
// after+1.
func (c *chained) message(names ...string) []byte {
	c.Before, c.ID = c.ID, c.ID+1
	c.Clock = max(c.Clock+1, c.first+uint64(len(names))-1)
	c.nanos++
	b := message.AppendSharedHeader(nil, c.first, c.nanos, c.Link)
	for _, name := range names {
		b = message.AppendDrafts(b, name, []topic.Draft{{Data: fmt.Append(nil, c.first)}}, topic.Key{})
		c.first++
	}
	c.After++
	return b
}

func sharedIndex(window int64) *Index {
	bounds := keep.Default(topic.Bounds{})
	return NewShared(&bounds, nil, window)
}

func start1() *chained { return &chained{Link: message.Link{Epoch: 7}, first: 1} }

// A message whose author has not seen the one before it is not part of the log,
// to whoever reads it.
func TestFollowVoid(t *testing.T) {
	c := start1()
	one := c.message("a")
	late := *c // knows message 1 only
	two := c.message("a")
	void := late.message("a", "b")
	c.ID, c.After = late.ID, 3
	three := c.message("c") // its author knows that message 3 is void
	x := sharedIndex(math.MaxInt64)
	for i, m := range [][]byte{one, two, void, three} {
		counts, err := x.Follow(uint64(i+1), m, nil)
		if err != nil || counts != (i != 2) {
			t.Errorf("message %d: %v, %v", i+1, counts, err)
		}
	}
	if x.End != 3 || x.Message != 4 || x.topics["b"] != nil || len(x.topics["a"].seqs) != 2 {
		t.Errorf("end %d, message %d", x.End, x.Message)
	}
	// One that comes new, when only the last two are left, finds the same.
	x = sharedIndex(math.MaxInt64)
	for i, m := range [][]byte{void, three} {
		if counts, err := x.Follow(uint64(i+3), m, nil); err != nil || counts != (i == 1) {
			t.Errorf("message %d: %v, %v", i+3, counts, err)
		}
	}
	if x.End != 3 || len(x.topics["c"].seqs) != 1 || x.newestLost != 2 {
		t.Errorf("end %d, lost %d", x.End, x.newestLost)
	}
}

// What cannot follow stops the log.
func TestFollowDiverged(t *testing.T) {
	for name, change := range map[string]func(c *chained){
		"another one before it":   func(c *chained) { c.ID++ },
		"numbers that are in use": func(c *chained) { c.first-- },
		"numbers left out":        func(c *chained) { c.first++ },
		"a clock that goes back":  func(c *chained) { c.Clock -= 100 },
		"no epoch":                func(c *chained) { c.Epoch = 0 },
	} {
		c := start1()
		c.Clock = 200
		x := sharedIndex(math.MaxInt64)
		if _, err := x.Follow(1, c.message("a"), nil); err != nil {
			t.Fatal(err)
		}
		change(c)
		if _, err := x.Follow(2, c.message("a"), nil); !errors.Is(err, ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x := sharedIndex(math.MaxInt64)
	if _, err := x.Follow(1, message.AppendHeader(nil, 1, 1), nil); !errors.Is(err, message.ErrFormat) {
		t.Errorf("a message of an embedded log: %v", err)
	}
}

// An old event of a quiet topic is lost when the stream has grown too far beyond
// it, so that the stream can be purged; also to one who comes late.
func TestFollowWindow(t *testing.T) {
	c := start1()
	early, late := sharedIndex(100_000), sharedIndex(100_000)
	both := func(names ...string) {
		m := c.message(names...)
		if _, err := early.Follow(c.After, m, nil); err != nil {
			t.Fatal(err)
		}
		if c.After > 100 {
			if _, err := late.Follow(c.After, m, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	both("quiet")
	for range 200 {
		both("loud")
	}
	if early.topics["quiet"] == nil {
		t.Fatal("lost too early")
	}
	both("quiet2")
	for range 2000 {
		both("loud")
		if c.After%100 == 0 {
			_, inEarly := early.topics["quiet2"]
			_, inLate := late.topics["quiet2"]
			if inEarly != inLate {
				t.Fatalf("at message %d, one has the event, and the other has not", c.After)
			}
		}
	}
	if early.topics["quiet"] != nil || early.topics["quiet2"] != nil {
		t.Error("an old event stands in the way")
	}
	oldest, _ := early.OldestMessages()
	if n := c.After - oldest; n < 500 || n > 1500 {
		t.Errorf("the window has %d messages", n)
	}
	if quiet := []topic.Pattern{pattern(t, "quiet2")}; !early.MayMiss(quiet, 201) || early.MayMiss(quiet, 202) {
		t.Error("it is not lost, or more is")
	}
}
