package index

import (
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// FuzzSnapshot checks that no file does harm.
func FuzzSnapshot(f *testing.F) {
	bounds := keep.Default(topic.Bounds{})
	x := New(&bounds)
	for i, name := range []string{"a", "b", "a"} {
		x.Append(x.topics[name], name, &topic.Draft{Data: []byte("x")}, uint64(i+1), uint64(i+1), 1)
	}
	x.Remember("a", topic.Key{Value: "k"}, 1, 1, 1)
	f.Add(x.Snapshot(&bounds)[:100])
	f.Fuzz(func(_ *testing.T, b []byte) {
		Restore(sum(b), &bounds)
	})
}
