package jetlog

import (
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/logtest"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T, opts logtest.Options) topic.Log {
		if opts.Bubble {
			t.Skip("the server's goroutines cannot be in a bubble; TestLogInMemory has a store that can")
		}
		o := optionsOf(opts)
		o.Dir = t.TempDir()
		return openAt(t, &o)
	})
}

// The same suite with a store that can be in a bubble: also what only time
// brings about.
func TestLogInMemory(t *testing.T) {
	logtest.Run(t, func(_ *testing.T, opts logtest.Options) topic.Log {
		o := optionsOf(opts)
		return openFake(&o, newFakeStore())
	})
}

// And once more without a tail: every entry is read from the store.
func TestLogWithoutTail(t *testing.T) {
	logtest.Run(t, func(_ *testing.T, opts logtest.Options) topic.Log {
		o := optionsOf(opts)
		o.TailBytes = -1
		return openFake(&o, newFakeStore())
	})
}

func optionsOf(opts logtest.Options) Options {
	return Options{
		RetainEvents:      opts.RetainEvents,
		RetainAge:         opts.RetainAge,
		RetainBytes:       opts.RetainBytes,
		Rules:             opts.Rules,
		IdempotencyWindow: opts.IdempotencyWindow,
		MaxTopics:         opts.MaxTopics,
		MaxKeys:           opts.MaxKeys,
	}
}

// openAt opens a log. The caller closes it.
func openAt(tb testing.TB, opts *Options) *Log {
	tb.Helper()
	l, err := Open(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// newLog makes a log of an index that is up to date with the store.
func newLog(opts Options, s, old store, x *index, epochs []epoch) *Log {
	l := idleLog(opts, s, old, x, epochs)
	l.wg.Go(l.sweep)
	return l
}

// openFake opens a log on an empty fake store.
func openFake(opts *Options, s *fakeStore) *Log {
	o := opts.withDefaults()
	return newLog(o, s, newFakeStore(), newIndex(&o), []epoch{{keep.NewEpoch(), 1}})
}
