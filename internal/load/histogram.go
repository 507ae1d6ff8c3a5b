package load

import (
	"math/bits"
	"time"
)

const (
	// A power of two is split into so many steps: a value is known to 0.8 %.
	histogramSteps = 128
	stepBits       = 7
	// Durations up to 2^43 ns are told apart, which is more than two hours.
	histogramSize = (43 - stepBits + 1) * histogramSteps
)

// Histogram counts durations in steps that grow with them.
type Histogram struct {
	counts [histogramSize]uint64
	total  uint64
	max    time.Duration
}

// Add counts d. Negative durations are taken for zero.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[stepOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

// Merge adds what o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// Count says how many durations were added.
func (h *Histogram) Count() uint64 { return h.total }

// Max gives the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile gives the duration that the fraction q of all durations does not
// exceed, or zero if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(endOf(i), h.max)
		}
	}
	return h.max
}

// stepOf gives the index of d: below histogramSteps it is d itself; from there
// on each power of two has histogramSteps of them.
func stepOf(d time.Duration) int {
	v := uint64(d)
	if v < histogramSteps {
		return int(v)
	}
	shift := bits.Len64(v) - stepBits - 1
	return min(shift*histogramSteps+int(v>>shift), histogramSize-1)
}

// endOf gives the longest duration of step i.
func endOf(i int) time.Duration {
	if i < 2*histogramSteps {
		return time.Duration(i)
	}
	shift := i/histogramSteps - 1
	mantissa := uint64(i - shift*histogramSteps)
	return time.Duration((mantissa+1)<<shift - 1)
}
