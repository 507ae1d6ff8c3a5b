package jetlog

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// BenchmarkNodes appends one event at a time on one or several nodes of one
// server, by publishers that each wait for their acknowledgement. least is what
// the node that came off worst has appended, of its fair share.
func BenchmarkNodes(b *testing.B) {
	s := natsServer(b, b.TempDir(), -1)
	for _, nodes := range []int{1, 3} {
		for _, publishers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("nodes=%d/publishers=%d", nodes, publishers), func(b *testing.B) {
				benchNodes(b, newStream(s), nodes, publishers)
			})
		}
	}
}

// benchNodes has nodes that each have so many publishers.
func benchNodes(b *testing.B, n *NATS, nodes, publishers int) {
	var logs []*Log
	for range nodes {
		l := openAt(b, &Options{NATS: n})
		defer l.Close()
		logs = append(logs, l)
	}
	var wg sync.WaitGroup
	var begun atomic.Int64
	counts := make([]atomic.Int64, nodes)
	latencies := make([][]time.Duration, nodes*publishers)
	b.ResetTimer()
	for p := range nodes * publishers {
		wg.Go(func() {
			for begun.Add(1) <= int64(b.N) {
				at := time.Now()
				if _, err := logs[p%nodes].Append(b.Context(), "a", draft128, topic.Key{}); err != nil {
					b.Error(err)
					return
				}
				latencies[p] = append(latencies[p], time.Since(at))
				counts[p%nodes].Add(1)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	least := counts[0].Load()
	for i := range counts {
		least = min(least, counts[i].Load())
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(least)*float64(nodes)/float64(b.N), "least")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(all[len(all)-1].Microseconds()), "max-µs")
}

// BenchmarkOpenShared opens a log with a million events on a server.
func BenchmarkOpenShared(b *testing.B) {
	n := newStream(natsServer(b, b.TempDir(), -1))
	l := openAt(b, &Options{NATS: n, Bounds: topic.Bounds{RetainEvents: -1}})
	names := topicNames(10_000)
	var wg sync.WaitGroup
	for p := range 64 {
		wg.Go(func() {
			for i := p; i < 1_000_000; i += 64 {
				if _, err := l.Append(b.Context(), names[i%len(names)], draft128, topic.Key{}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	for b.Loop() {
		openAt(b, &Options{NATS: n, Bounds: topic.Bounds{RetainEvents: -1}}).Close()
	}
}
