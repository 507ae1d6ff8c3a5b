package jetlog

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var draft128 = []topic.Draft{{Media: "text/plain", Data: make([]byte, 128)}}

// topicNames makes names of topics.
func topicNames(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "topic/" + strconv.Itoa(i)
	}
	return list
}

// BenchmarkAppend appends one event at a time, by publishers that each wait for
// their acknowledgement.
func BenchmarkAppend(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		for _, publishers := range []int{1, 8, 64, 1024} {
			b.Run(fmt.Sprintf("fsync=%v/publishers=%d", fsync, publishers), func(b *testing.B) {
				l := openAt(b, &Options{Dir: b.TempDir(), Fsync: fsync})
				defer l.Close()
				benchAppend(b, l, publishers, draft128)
			})
		}
	}
}

// BenchmarkAppendBatch100 appends batches of 100 events.
func BenchmarkAppendBatch100(b *testing.B) {
	l := openAt(b, &Options{Dir: b.TempDir()})
	defer l.Close()
	benchAppend(b, l, 1, slices.Repeat(draft128, 100))
}

func benchAppend(b *testing.B, l *Log, publishers int, drafts []topic.Draft) {
	names := topicNames(1000)
	var n atomic.Int64
	var wg sync.WaitGroup
	latencies := make([][]time.Duration, publishers)
	b.ReportAllocs()
	b.ResetTimer()
	for p := range publishers {
		wg.Go(func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				start := time.Now()
				if _, err := l.Append(b.Context(), names[i%1000], drafts, topic.Key{}); err != nil {
					b.Error(err)
					return
				}
				latencies[p] = append(latencies[p], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(latencies...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N*len(drafts))/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// fill appends events to many topics in turn.
func fill(tb testing.TB, l *Log, publishers, topics, events int) {
	tb.Helper()
	names := topicNames(topics)
	var n atomic.Int64
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(events); i = n.Add(1) {
				if _, err := l.Append(tb.Context(), names[i%int64(topics)], draft128, topic.Key{}); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkHistory reads pages of the newest 100 events of a topic among
// 10,000 that have 100 each, from memory and from the disk.
func BenchmarkHistory(b *testing.B) {
	const topics, events = 5000, 500_000
	for _, tail := range []int64{0, -1} {
		l := openAt(b, &Options{Dir: b.TempDir(), TailBytes: []int64{1 << 30, -1}[-tail]})
		fill(b, l, 256, topics, events)
		b.Run([]string{"hot", "cold"}[-tail], func(b *testing.B) {
			n := 0
			var latencies []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				n++
				start := time.Now()
				page, err := l.Newest(b.Context(), []topic.Pattern{pattern1(b, "topic/"+strconv.Itoa(n*7919%topics))}, topic.Limit{Events: 100})
				if err != nil || len(page.Entries) != 100 {
					b.Fatal(len(page.Entries), err)
				}
				latencies = append(latencies, time.Since(start))
			}
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-µs")
		})
		l.Close()
	}
}

// BenchmarkTopicAtRest reports what a topic with one small event takes: of the
// heap of this process, in which the server is, and of its resident memory.
func BenchmarkTopicAtRest(b *testing.B) {
	for _, topics := range []int{100_000, 1_000_000} {
		for _, publishers := range []int{1, 256} {
			b.Run(fmt.Sprintf("topics=%d/publishers=%d", topics, publishers), func(b *testing.B) {
				for b.Loop() {
					l := openAt(b, &Options{Dir: b.TempDir(), TailBytes: -1})
					heap, resident := memory()
					fill(b, l, publishers, topics, topics)
					time.Sleep(15 * time.Second) // the server lets go of its caches
					heapNow, residentNow := memory()
					b.ReportMetric(float64(heapNow-heap)/float64(topics), "heap-B/topic")
					b.ReportMetric(float64(residentNow-resident)/float64(topics), "rss-B/topic")
					l.Close()
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkOpen opens a log of 1,000,000 events, after Close and without it.
func BenchmarkOpen(b *testing.B) {
	const events = 1_000_000
	for _, publishers := range []string{"grouped", "single"} {
		dir := b.TempDir()
		l := openAt(b, &Options{Dir: dir})
		if publishers == "grouped" {
			fill(b, l, 256, 100_000, events)
		} else {
			for i, name := range topicNames(100_000) {
				for range events / 100_000 {
					if _, err := l.Append(b.Context(), name, draft128, topic.Key{}); err != nil {
						b.Fatal(i, err)
					}
				}
			}
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		for _, clean := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/clean=%v", publishers, clean), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					if !clean {
						os.Remove(dir + "/" + snapshotFile)
					}
					b.StartTimer()
					l := openAt(b, &Options{Dir: dir})
					b.StopTimer()
					if l.End().Seq != events {
						b.Fatal(l.End())
					}
					l.Close()
					b.StartTimer()
				}
			})
		}
	}
}

// memory returns the heap in use and the resident memory of this process.
func memory() (heap, resident int64) {
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kib)[0], 10, 64)
			resident = n << 10
		}
	}
	return int64(m.HeapAlloc), resident
}
