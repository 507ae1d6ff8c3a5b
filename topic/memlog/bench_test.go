package memlog

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

var draft128 = []topic.Draft{{Media: "text/plain", Data: make([]byte, 128)}}

func BenchmarkAppend(b *testing.B) {
	for _, topics := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			l := Open(nil)
			defer l.Close()
			names := make([]string, topics)
			for i := range names {
				names[i] = "topic/" + strconv.Itoa(i)
			}
			b.SetBytes(128)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := l.Append(b.Context(), names[i%topics], draft128, topic.Key{}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func BenchmarkAppendBatch100(b *testing.B) {
	l := Open(nil)
	defer l.Close()
	var drafts []topic.Draft
	for range 100 {
		drafts = append(drafts, draft128...)
	}
	b.SetBytes(100 * 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Append(b.Context(), "topic", drafts, topic.Key{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads pages of 100 events somewhere in a log of 1,000,000.
func BenchmarkRead(b *testing.B) {
	const events, topics = 1_000_000, 1000
	l := Open(nil)
	defer l.Close()
	for i := range events {
		if _, err := l.Append(b.Context(), "topic/"+strconv.Itoa(i%topics), draft128, topic.Key{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, patterns := range [][]string{{"topic/7"}, {"topic/7", "topic/8", "topic/9"}, {"topic/*"}, {"*/7"}} {
		b.Run(fmt.Sprint(patterns), func(b *testing.B) {
			interests := []topic.Interest{{Patterns: parse(b, patterns...)}}
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				n++
				interests[0].After = topic.Cursor{ID: l.id(n * 7919 % (events / 2))}
				if _, err := l.Read(b.Context(), interests, topic.Limit{Events: 100}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("nothing new", func(b *testing.B) {
		interests := []topic.Interest{{Patterns: parse(b, "topic/7"), After: topic.Cursor{ID: l.End()}}}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Read(b.Context(), interests, topic.Limit{Events: 100}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTopics lists a page of 100 of 100,000 topics.
func BenchmarkTopics(b *testing.B) {
	l := Open(nil)
	defer l.Close()
	fillTopics(b, l, 100_000)
	for b.Loop() {
		if _, err := l.Topics(b.Context(), "topic/5", 100); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTopicAtRest reports what a topic with one small event takes, without
// its name and the data.
func BenchmarkTopicAtRest(b *testing.B) {
	for _, topics := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(topics), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(bytesPerTopic(b, topics), "B/topic")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bytesPerTopic measures the heap. What all topics share is shared here, too;
// names and data are not counted.
func bytesPerTopic(tb testing.TB, topics int) float64 {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	l := Open(nil)
	defer l.Close()
	fillTopics(tb, l, topics)
	const nameBytes = 16 // the size class of a name here
	return float64(heap()-before)/float64(topics) - nameBytes
}

func fillTopics(tb testing.TB, l *Log, topics int) {
	draft := []topic.Draft{{Media: "text/plain", Data: []byte("small")}}
	for i := range topics {
		if _, err := l.Append(tb.Context(), "topic/"+strconv.Itoa(i), draft, topic.Key{}); err != nil {
			tb.Fatal(err)
		}
	}
}

func parse(tb testing.TB, patterns ...string) []topic.Pattern {
	var parsed []topic.Pattern
	for _, s := range patterns {
		p, err := topic.ParsePattern(s)
		if err != nil {
			tb.Fatal(err)
		}
		parsed = append(parsed, p)
	}
	return parsed
}
