package topic_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
)

// fragile is a form that cannot bear an event, or signals, of which the text is.
type fragile struct {
	script
	fears string
}

func (f *fragile) AppendEvent(dst []byte, e *topic.Event) []byte {
	if string(e.Data) == f.fears {
		panic(f.fears)
	}
	return f.script.AppendEvent(dst, e)
}

func (f *fragile) AppendSignal(dst []byte, s topic.Signal) []byte {
	if s.Type == f.fears {
		panic(f.fears)
	}
	return f.script.AppendSignal(dst, s)
}

// fragileSink is a sink that panics.
type fragileSink struct {
	recorder
	panics atomic.Int32 // so many times
	ends   atomic.Int32
}

func (s *fragileSink) Send(b topic.Batch) bool {
	if b.End != nil {
		s.ends.Add(1)
	}
	if s.panics.Add(-1) >= 0 {
		panic("sink")
	}
	return s.recorder.Send(b)
}

// A form or a sink that panics costs its subscriber, and nobody else.
func TestPanics(t *testing.T) {
	for name, test := range map[string]struct {
		fears  string
		replay bool
	}{
		"an event, live":     {"2", false},
		"an event, replayed": {"1", true},
		"a signal, live":     {topic.TypePing, false},
		"the end, live":      {topic.TypeEnd, false},
		"the end, replayed":  {topic.TypeEnd, true},
		"a gap":              {topic.TypeGap, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := openHub(t, nil, &topic.HubOptions{Ping: -1, Shards: 1, Readers: 1})
				publish(t, hub, "a", "1")
				start := hub.Now()
				if test.replay {
					start = topic.Start{}
				}
				good, bad := &recorder{}, &recorder{}
				defer hub.Subscribe(bad, topic.SubscribeOptions{Form: &fragile{fears: test.fears}, Signals: true}, selection(t, start, "a")).Close()
				defer hub.Subscribe(good, topic.SubscribeOptions{Form: script{}}, selection(t, earliest(t, hub, "a"), "a")).Close()
				synctest.Wait()
				publish(t, hub, "a", "2")
				end(t, hub, "a")
				synctest.Wait()
				defer hub.Subscribe(good, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "b")).Close()
				publish(t, hub, "b", "3")
				synctest.Wait()
				bad.mu.Lock()
				e, ok := errors.AsType[*topic.PanicError](bad.end)
				bad.mu.Unlock()
				if !ok || e.Value != test.fears || len(e.Stack) == 0 {
					t.Errorf("it has ended with %v", bad.end)
				}
				if lines := good.take(); len(lines) != 4 || lines[3] != "b=3" {
					t.Errorf("the others got %q", lines)
				}
			})
		})
	}
	for _, replay := range []bool{false, true} {
		for times := range int32(3) {
			synctest.Test(t, func(t *testing.T) {
				hub := openHub(t, nil, &topic.HubOptions{Ping: -1, Shards: 1, Readers: 1})
				start := hub.Now()
				if publish(t, hub, "a", "1"); !replay {
					start = hub.Now()
				}
				good, bad := &recorder{}, &fragileSink{}
				bad.panics.Store(times)
				defer hub.Subscribe(bad, topic.SubscribeOptions{Form: script{}}, selection(t, start, "a")).Close()
				synctest.Wait()
				publish(t, hub, "a", "2")
				synctest.Wait()
				defer hub.Subscribe(good, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a")).Close()
				publish(t, hub, "a", "3")
				want(t, good, "a=3")
				if got := bad.ends.Load(); got != min(times, 1) {
					t.Errorf("after %d panics it was ended %d times", times, got)
				}
			})
		}
	}
}

// Of those who are given a turn together, sinks that panic cost none of the
// others a batch, nor give them one twice.
func TestPanicsAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, &topic.HubOptions{Ping: -1, Shards: 1, Readers: 1})
		var sinks [8]fragileSink
		for i := range sinks {
			if i%3 == 1 {
				sinks[i].panics.Store(2) // it cannot bear its end either
			}
			form := topic.Form(script{})
			if i >= 4 {
				form = &fragile{}
			}
			defer hub.Subscribe(&sinks[i], topic.SubscribeOptions{Form: form}, selection(t, hub.Now(), "a")).Close()
		}
		synctest.Wait()
		publish(t, hub, "a", "1")
		synctest.Wait()
		publish(t, hub, "a", "2")
		synctest.Wait()
		for i := range sinks {
			if i%3 != 1 {
				want(t, &sinks[i].recorder, "a=1", "a=2")
			} else if ends := sinks[i].ends.Load(); ends != 1 {
				t.Errorf("sink %d was ended %d times", i, ends)
			}
		}
		if got := hub.Stats().Batches; got != 5*2+3 {
			t.Errorf("%d batches", got)
		}
	})
}
