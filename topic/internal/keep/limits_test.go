package keep

import (
	"math"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

func TestDefault(t *testing.T) {
	for given, want := range map[topic.Bounds]topic.Bounds{
		{}: {
			RetainEvents: 100_000, RetainAge: 24 * time.Hour, RetainBytes: 1 << 30,
			IdempotencyWindow: 2 * time.Minute, MaxTopics: 1_000_000, MaxKeys: 1_000_000,
		},
		{RetainEvents: 1, RetainAge: 2, RetainBytes: 3, IdempotencyWindow: 2, MaxTopics: 5, MaxKeys: 6}: {
			RetainEvents: 1, RetainAge: 2, RetainBytes: 3, IdempotencyWindow: 2, MaxTopics: 5, MaxKeys: 6,
		},
		{RetainEvents: -1, RetainAge: -1, RetainBytes: -1, IdempotencyWindow: -1, MaxTopics: -1, MaxKeys: -1}: {
			RetainEvents: math.MaxInt, RetainAge: math.MaxInt64, RetainBytes: math.MaxInt64, MaxTopics: math.MaxInt, MaxKeys: math.MaxInt,
		},
		// A key is not remembered for longer than its event is kept.
		{RetainAge: time.Minute}: {
			RetainEvents: 100_000, RetainAge: time.Minute, RetainBytes: 1 << 30,
			IdempotencyWindow: time.Minute, MaxTopics: 1_000_000, MaxKeys: 1_000_000,
		},
	} {
		if got := Default(given); got != want {
			t.Errorf("%+v: got %+v, want %+v", given, got, want)
		}
	}
}
