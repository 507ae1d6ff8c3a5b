package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	tidyInterval = 2 * time.Second
	// tidyQuiet is how many bytes a server that has little to do allocates in
	// an interval at most.
	tidyQuiet = 256 << 10
	// tidyLeast is what must have been allocated for tidying to pay; of a
	// large heap, a quarter.
	tidyLeast = 4 << 20
)

// tidy gives the memory of garbage back to the system while the server has
// little to do: after many connections have come, that is most of what they
// cost. It ends with ctx.
func tidy(ctx context.Context) {
	ticker := time.NewTicker(tidyInterval)
	defer ticker.Stop()
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	var g garbage
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(samples)
		if g.due(samples[0].Value.Uint64(), samples[1].Value.Uint64()) {
			runtime.GC() // what pools hold goes with the second collection only
			debug.FreeOSMemory()
		}
	}
}

// garbage decides when to tidy.
type garbage struct {
	before uint64 // allocated up to the last interval
	tidied uint64 // and when it was tidied
}

// due is asked once in an interval, with the bytes that were allocated so far,
// and those that were live when garbage was last collected.
func (g *garbage) due(allocated, live uint64) bool {
	quiet := allocated-g.before <= tidyQuiet
	g.before = allocated
	if !quiet || allocated-g.tidied < max(tidyLeast, live/4) {
		return false
	}
	g.tidied = allocated
	return true
}
