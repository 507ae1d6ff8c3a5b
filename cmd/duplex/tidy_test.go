package main

import "testing"

func TestGarbageIsDue(t *testing.T) {
	const mib = 1 << 20
	var g garbage
	for i, step := range []struct {
		allocated, live uint64
		want            bool
	}{
		{3 * mib, mib, false},  // a start
		{3 * mib, mib, false},  // quiet, but there is little to gain
		{20 * mib, mib, false}, // a burst
		{30 * mib, 5 * mib, false},
		{30*mib + 1000, 5 * mib, true},
		{30*mib + 2000, 5 * mib, false}, // it was done
		{33 * mib, 5 * mib, false},
		{36 * mib, 5 * mib, false},
		{36 * mib, 5 * mib, true},
		{100 * mib, 1000 * mib, false},
		{100 * mib, 1000 * mib, false}, // a large heap costs more to collect
		{300 * mib, 1000 * mib, false},
		{300 * mib, 1000 * mib, true},
	} {
		if got := g.due(step.allocated, step.live); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
}
