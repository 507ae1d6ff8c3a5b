package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog"
	"github.com/duplexhq/duplex/topic/memlog"
)

// A nodeLog is one node's of a log that others use, too.
type nodeLog struct {
	topic.Log
	failed, closed atomic.Bool
}

func (l *nodeLog) Ready() error {
	if l.failed.Load() {
		return jetlog.ErrFailed
	}
	return l.Log.Ready()
}

func (l *nodeLog) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	if l.closed.Load() {
		return topic.Page{}, topic.ErrClosed
	}
	return l.Log.Read(ctx, interests, limit)
}

func (l *nodeLog) Close() error {
	l.closed.Store(true)
	l.Log.Watch(func([]*topic.Entry) {})
	return nil
}

// heard is a sink that notes the data of events, and how it ends.
type heard struct {
	topic.Form
	data []string
	end  error
}

func (h *heard) AppendEvent(dst []byte, e *topic.Event) []byte  { return append(dst, e.Data...) }
func (h *heard) AppendSignal(dst []byte, s topic.Signal) []byte { return append(dst, s.Type...) }

func (h *heard) Send(b topic.Batch) bool {
	for _, c := range b.Chunks {
		h.data = append(h.data, string(c))
	}
	h.end = b.End
	return true
}

// A log that has failed is opened anew. Subscribers stay, and are given what came
// meanwhile, once and in order.
func TestReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := memlog.Open(nil)
		defer stream.Close()
		add := func(data string) {
			t.Helper()
			if _, err := stream.Append(t.Context(), "a", []topic.Draft{{Data: []byte(data)}}, topic.Key{}); err != nil {
				t.Fatal(err)
			}
		}
		var nodes []*nodeLog
		failures := 2 // to open it
		log, err := lasting(t.Context(), func(context.Context) (topic.Log, error) {
			if len(nodes) == 1 && failures > 0 {
				failures--
				return nil, jetlog.ErrUnavailable
			}
			nodes = append(nodes, &nodeLog{Log: stream})
			return nodes[len(nodes)-1], nil
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		hub := topic.NewHub(log, nil)
		defer hub.Close()
		pattern, err := topic.ParsePattern("a")
		if err != nil {
			t.Fatal(err)
		}
		h := new(heard)
		defer hub.Subscribe(h, topic.SubscribeOptions{Form: h}, topic.Selection{Name: "a", Patterns: []topic.Pattern{pattern}, Start: hub.Now()}).Close()
		add("1")
		synctest.Wait()
		cursor := topic.Cursor{ID: stream.End()}

		nodes[0].failed.Store(true)
		if err := log.Ready(); !errors.Is(err, topic.ErrUnavailable) || errors.Is(err, jetlog.ErrFailed) {
			t.Errorf("ready: %v", err)
		}
		time.Sleep(readyInterval)
		synctest.Wait()
		add("2")
		if err := log.Ready(); !errors.Is(err, topic.ErrUnavailable) {
			t.Errorf("ready while it is opened anew: %v", err)
		}
		if _, err := log.Knows(t.Context(), cursor); !errors.Is(err, topic.ErrUnavailable) {
			t.Errorf("of a cursor: %v", err)
		}
		if _, err := log.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern}, After: cursor}}, topic.Limit{}); !errors.Is(err, topic.ErrUnavailable) {
			t.Errorf("read: %v", err)
		}
		time.Sleep(2 * readyInterval)
		synctest.Wait()
		if err := log.Ready(); err != nil || len(nodes) != 2 {
			t.Errorf("then it has %d logs, %v", len(nodes), err)
		}
		add("3")
		synctest.Wait()
		if want := []string{"1", "2", "3"}; !slices.Equal(h.data, want) || h.end != nil {
			t.Errorf("a subscriber got %q, %v", h.data, h.end)
		}
		if known, err := log.Knows(t.Context(), cursor); !known || err != nil {
			t.Errorf("the cursor of before: %v, %v", known, err)
		}
	})
}
