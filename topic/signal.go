package topic

import (
	"strconv"
	"time"
)

func pingSignal(at Cursor, data []byte) Signal {
	return Signal{Type: TypePing, Cursor: at, Data: data}
}

// pingData tells the interval in seconds.
func pingData(interval time.Duration) []byte {
	data := strconv.AppendFloat([]byte(`{"interval":`), interval.Seconds(), 'f', -1, 64)
	return append(data, '}')
}

func endSignal(topic string, at ID) Signal {
	data := append([]byte(`{"topic":`), quoteJSON(topic)...)
	return Signal{Type: TypeEnd, Cursor: Cursor{ID: at}, Data: append(data, '}')}
}

func gapSignal(g Gap, asked, subscription string) Signal {
	return Signal{Type: TypeGap, Cursor: g.Cursor, Data: AppendGapJSON(nil, g, asked, subscription)}
}

// AppendGapJSON appends what clients are told of a gap: the cursor as it was
// asked for, the oldest event that is left, up to where more may be missing, and
// the subscription's name unless that is empty.
func AppendGapJSON(dst []byte, g Gap, asked, subscription string) []byte {
	dst = append(dst, `{"after":`...)
	dst = append(dst, quoteJSON(asked)...)
	if g.Oldest.Seq != 0 {
		dst = append(dst, `,"oldest":"`...)
		dst = g.Oldest.AppendTo(dst)
		dst = append(dst, '"')
	}
	if g.To.Seq != 0 {
		dst = append(dst, `,"to":"`...)
		dst = g.To.AppendTo(dst)
		dst = append(dst, '"')
	}
	if subscription != "" {
		dst = append(dst, `,"topic":`...)
		dst = append(dst, quoteJSON(subscription)...)
	}
	return append(dst, '}')
}
