package jetlog

import (
	"context"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
	"github.com/duplexhq/duplex/topic/logtest"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T, opts logtest.Options) topic.Log {
		if opts.Bubble {
			t.Skip("the server's goroutines cannot be in a bubble; TestLogInMemory has a store that can")
		}
		return openAt(t, &Options{Dir: t.TempDir(), Bounds: opts.Bounds})
	})
}

// The same suite with a store that can be in a bubble: also what only time
// brings about.
func TestLogInMemory(t *testing.T) {
	logtest.Run(t, func(_ *testing.T, opts logtest.Options) topic.Log {
		return openFake(&Options{Bounds: opts.Bounds}, newFakeStore())
	})
}

// And once more without a tail: every entry is read from the store.
func TestLogWithoutTail(t *testing.T) {
	logtest.Run(t, func(_ *testing.T, opts logtest.Options) topic.Log {
		return openFake(&Options{Bounds: opts.Bounds, TailBytes: -1}, newFakeStore())
	})
}

// openAt opens a log. The caller closes it.
func openAt(tb testing.TB, opts *Options) *Log {
	tb.Helper()
	l, err := Open(context.Background(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// newLog makes a log of an index that is up to date with the store.
func newLog(opts Options, s, old store, x *index.Index, e index.Epochs) *Log {
	l := idleLog(opts, s, old, x, e)
	l.wg.Go(l.sweep)
	return l
}

// openFake opens a log on an empty fake store.
func openFake(opts *Options, s *fakeStore) *Log {
	o := opts.withDefaults()
	return newLog(o, s, newFakeStore(), index.New(&o.Bounds), index.FirstEpoch())
}
