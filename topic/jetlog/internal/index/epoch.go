package index

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// An Epoch is a part of the sequence. A new one begins when the log may have
// lost its newest entries: an id that was given to one of them is then of no
// epoch that the log knows.
type Epoch struct {
	Number uint64
	First  uint64 // sequence number of its first entry
}

// Epochs are those of a log, in their order.
type Epochs []Epoch

// FirstEpoch is that of a new log.
func FirstEpoch() Epochs { return Epochs{{keep.NewEpoch(), 1}} }

// Newest returns the number of the last one.
func (e Epochs) Newest() uint64 { return e[len(e)-1].Number }

// ID returns the id of a sequence number.
func (e Epochs) ID(seq uint64) topic.ID {
	for i := len(e) - 1; i > 0; i-- {
		if e[i].First <= seq {
			return topic.ID{Epoch: e[i].Number, Seq: seq}
		}
	}
	return topic.ID{Epoch: e[0].Number, Seq: seq}
}

// End returns where an epoch of a log ended, or has come if it is the newest one,
// and the log to an end; false if there is no such epoch.
func (e Epochs) End(number, end uint64) (uint64, bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].Number == number {
			return end, true
		}
		end = e[i].First - 1
	}
	return 0, false
}

// String writes epochs as "NUMBER@FIRST,...", numbers as in ids.
func (e Epochs) String() string {
	var s strings.Builder
	for i, one := range e {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(strconv.FormatUint(one.Number, 36) + "@" + strconv.FormatUint(one.First, 10))
	}
	return s.String()
}

// ParseEpochs reads what String has written.
func ParseEpochs(s string) (Epochs, error) {
	var all Epochs
	if s == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(s, ",") {
		number, first, _ := strings.Cut(text, "@")
		var e Epoch
		var err error
		if e.Number, err = strconv.ParseUint(number, 36, 64); err == nil {
			e.First, err = strconv.ParseUint(first, 10, 64)
		}
		if n := len(all); err != nil || e.Number == 0 || e.First == 0 || n > 0 && e.First < all[n-1].First {
			return nil, fmt.Errorf("jetlog: the stream's epochs are %q", s)
		}
		all = append(all, e)
	}
	return all, nil
}
