package jetlog

import (
	"testing"

	"github.com/duplexhq/duplex/topic"
)

// FuzzSnapshot checks that no file does harm.
func FuzzSnapshot(f *testing.F) {
	o := (*Options)(nil).withDefaults()
	x := newIndex(&o)
	for i, name := range []string{"a", "b", "a"} {
		x.append(x.topics[name], name, &topic.Draft{Data: []byte("x")}, uint64(i+1), uint64(i+1), 1)
	}
	x.remember("a", topic.Key{Value: "k"}, 1, 1, 1)
	f.Add(x.snapshot(nil, &o)[:100])
	f.Fuzz(func(_ *testing.T, b []byte) {
		restore(sum(b), &o)
	})
}
