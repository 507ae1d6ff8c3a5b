package jetlog

import (
	"math"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		given *Options
		want  Options
	}{
		{nil, Options{
			Dir: "duplex-data", SyncInterval: time.Second, RetainEvents: 100_000, RetainAge: 24 * time.Hour, RetainBytes: 1 << 30,
			IdempotencyWindow: 2 * time.Minute, MaxTopics: 1_000_000, MaxKeys: 1_000_000, TailBytes: 64 << 20,
		}},
		{&Options{Dir: "d", SyncInterval: 1, RetainEvents: 2, RetainAge: 3, RetainBytes: 4, IdempotencyWindow: 3, MaxTopics: 5, MaxKeys: 6, TailBytes: 7},
			Options{Dir: "d", SyncInterval: 1, RetainEvents: 2, RetainAge: 3, RetainBytes: 4, IdempotencyWindow: 3, MaxTopics: 5, MaxKeys: 6, TailBytes: 7}},
		{&Options{RetainEvents: -1, RetainAge: -1, RetainBytes: -1, IdempotencyWindow: -1, MaxTopics: -1, MaxKeys: -1, TailBytes: -1},
			Options{Dir: "duplex-data", SyncInterval: time.Second, RetainEvents: math.MaxInt, RetainAge: math.MaxInt64, RetainBytes: math.MaxInt64,
				MaxTopics: math.MaxInt, MaxKeys: math.MaxInt}},
	} {
		got := tt.given.withDefaults()
		if got.Progress == nil || got.Logger == nil {
			t.Error("without Progress or Logger")
		}
		got.Progress, got.Logger = nil, nil
		// Funcs cannot be compared, so neither can Options.
		g, w := got, tt.want
		if g.Dir != w.Dir || g.SyncInterval != w.SyncInterval || g.RetainEvents != w.RetainEvents || g.RetainAge != w.RetainAge ||
			g.RetainBytes != w.RetainBytes || g.IdempotencyWindow != w.IdempotencyWindow || g.MaxTopics != w.MaxTopics ||
			g.MaxKeys != w.MaxKeys || g.TailBytes != w.TailBytes || g.Fsync != w.Fsync {
			t.Errorf("%+v: got %+v, want %+v", tt.given, g, w)
		}
	}
}

// A negative SyncInterval would have nothing synced.
func TestOptionsRefused(t *testing.T) {
	if _, err := Open(&Options{Dir: t.TempDir(), SyncInterval: -1}); err == nil {
		t.Error("no error")
	}
}
