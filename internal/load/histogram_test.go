package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramSteps(t *testing.T) {
	for i := range histogramSize - 1 {
		if end := endOf(i); stepOf(end) != i || stepOf(end+1) != i+1 {
			t.Fatalf("step %d ends at %d, but %d is in step %d and %d in %d", i, end, end, stepOf(end), end+1, stepOf(end+1))
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var all []time.Duration
	var halves [2]Histogram
	for i := range 10_000 {
		d := time.Duration(random.ExpFloat64() * 1e6)
		all = append(all, d)
		halves[i%2].Add(d)
	}
	slices.Sort(all)
	h := halves[0]
	h.Merge(&halves[1])
	if h.Count() != 10_000 || h.Max() != all[9999] || h.Quantile(1) != all[9999] {
		t.Errorf("count %d, max %v, last %v; want 10000, %v twice", h.Count(), h.Max(), h.Quantile(1), all[9999])
	}
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999} {
		exact := all[int(q*10_000)-1]
		if got := h.Quantile(q); got < exact || float64(got-exact) > float64(exact)/100 {
			t.Errorf("quantile %v is %v, want %v to 1 %%", q, got, exact)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a quantile")
	}
	h.Add(-time.Second)
	h.Add(1 << 62)
	if h.Quantile(0.5) != 0 || h.Max() != 1<<62 {
		t.Errorf("quantile %v, max %v", h.Quantile(0.5), h.Max())
	}
}
