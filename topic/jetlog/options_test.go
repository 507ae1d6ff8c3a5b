package jetlog

import (
	"reflect"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		given *Options
		want  Options
	}{
		{nil, Options{Dir: "duplex-data", SyncInterval: time.Second, TailBytes: 64 << 20}},
		{&Options{Dir: "d", SyncInterval: 1, TailBytes: 7}, Options{Dir: "d", SyncInterval: 1, TailBytes: 7}},
		{&Options{TailBytes: -1, Bounds: topic.Bounds{RetainEvents: 2}},
			Options{Dir: "duplex-data", SyncInterval: time.Second, Bounds: topic.Bounds{RetainEvents: 2}}},
	} {
		got := tt.given.withDefaults()
		if got.Progress == nil || got.Logger == nil {
			t.Error("without Progress or Logger")
		}
		got.Progress, got.Logger = nil, nil
		tt.want.Bounds = keep.Default(tt.want.Bounds)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: got %+v, want %+v", tt.given, got, tt.want)
		}
	}
}

// A negative SyncInterval would have nothing synced.
func TestOptionsRefused(t *testing.T) {
	if _, err := Open(t.Context(), &Options{Dir: t.TempDir(), SyncInterval: -1}); err == nil {
		t.Error("no error")
	}
}
