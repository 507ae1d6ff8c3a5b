package topic_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// jsonLines is the form of most transports.
type jsonLines struct{}

func (jsonLines) AppendEvent(dst []byte, e *topic.Event) []byte { return topic.AppendJSON(dst, e) }
func (jsonLines) AppendSignal(dst []byte, s topic.Signal) []byte {
	return topic.AppendSignalJSON(dst, s)
}

// counter is a sink that is always writable.
type counter struct{ chunks, batches atomic.Int64 }

func (c *counter) Send(b topic.Batch) bool {
	c.chunks.Add(int64(len(b.Chunks)))
	c.batches.Add(1)
	return true
}

var payload = make([]byte, 128)

func benchHub(b *testing.B) *topic.Hub {
	log := memlog.Open(&memlog.Options{RetainEvents: 1000})
	hub := topic.NewHub(log, &topic.HubOptions{Shards: 1, Ping: -1})
	b.Cleanup(func() { hub.Close(); log.Close() })
	return hub
}

// Publishing to a topic that nobody reads.
func BenchmarkPublish(b *testing.B) {
	hub := benchHub(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := hub.Publish(b.Context(), "a/b", []topic.Draft{{Data: payload}}, topic.Key{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// Publishing to 1,000 subscribers whose sinks cost nothing: what the hub adds
// to a delivery.
func BenchmarkFanOut(b *testing.B) {
	for _, others := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			hub := benchHub(b)
			pattern := func(name string) topic.Selection {
				p, err := topic.ParsePattern(name)
				if err != nil {
					b.Fatal(err)
				}
				return topic.Selection{Patterns: []topic.Pattern{p}, Start: hub.Now()}
			}
			const subscribers = 1000
			var sinks [subscribers]counter
			var subs []*topic.Subscriber
			for i := range others {
				name := fmt.Sprintf("other/%d", i)
				if i%2 == 0 {
					name = fmt.Sprintf("pattern/%d/*", i)
				}
				subs = append(subs, hub.Subscribe(&counter{}, topic.SubscribeOptions{Form: jsonLines{}}, pattern(name)))
			}
			for i := range sinks {
				subs = append(subs, hub.Subscribe(&sinks[i], topic.SubscribeOptions{Form: jsonLines{}}, pattern("a/b")))
			}
			n := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hub.Publish(b.Context(), "a/b", []topic.Draft{{Data: payload}}, topic.Key{}); err != nil {
					b.Fatal(err)
				}
				n++
				for i := range sinks { // one at a time: no coalescing
					for sinks[i].chunks.Load() < n {
						runtime.Gosched()
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*subscribers), "ns/delivery")
			b.StopTimer()
			for _, s := range subs {
				s.Close()
			}
		})
	}
}

// A delivery of an event that was encoded before allocates nothing.
func TestDeliveryAllocatesNothing(t *testing.T) {
	log := memlog.Open(nil)
	hub := topic.NewHub(log, &topic.HubOptions{Shards: 1, Ping: -1})
	defer log.Close()
	defer hub.Close()
	sel := selection(t, hub.Now(), "a")
	perPublish := func(subscribers int) float64 {
		sinks := make([]counter, subscribers)
		var subs []*topic.Subscriber
		for i := range sinks {
			subs = append(subs, hub.Subscribe(&sinks[i], topic.SubscribeOptions{Form: jsonLines{}}, sel))
		}
		defer func() {
			for _, s := range subs {
				s.Close()
			}
		}()
		n := int64(0)
		return testing.AllocsPerRun(100, func() {
			publish(t, hub, "a", "x")
			n++
			for i := range sinks {
				for sinks[i].chunks.Load() < n {
					runtime.Gosched()
				}
			}
		})
	}
	few, many := perPublish(1), perPublish(101)
	if many > few+1 {
		t.Errorf("%.0f allocations for 1 subscriber, %.0f for 101", few, many)
	}
}
