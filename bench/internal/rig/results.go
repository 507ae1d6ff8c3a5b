//go:build linux

package rig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// generatorFull is the share of its core from which the generator may have
// been what limits a rate.
const generatorFull = 0.9

// Results are the runs of each field of the tables, in the order of the rounds.
type Results map[Cell][]Result

// A Cell is one field of the tables: a work, and who did it.
type Cell struct{ Work, Server string }

// ErrUnable is a server that does not do what a work needs. That is no fault.
var ErrUnable = errors.New("the server does not do this")

// A Result is one run; Report is nil if it has failed.
type Result struct {
	Report *load.Report
	Err    error
}

// Add adds a run.
func (r Results) Add(at Cell, report *load.Report, err error) {
	r[at] = append(r[at], Result{report, err})
}

// A Figure is what several runs say about one figure of their reports.
type Figure struct {
	Runs           int // if 0, the rest says nothing
	Median, Lowest float64
	Full           bool // the generator had no time left: more may have been possible
}

// Figure leaves out the runs that have failed or had faults.
func (r Results) Figure(at Cell, of func(*load.Report) float64) (f Figure) {
	var values, generator []float64
	for _, result := range r[at] {
		if result.Err == nil && result.fault() == "" {
			values = append(values, of(result.Report))
			generator = append(generator, share(result.Report.Generator, result.Report))
		}
	}
	if len(values) == 0 {
		return f
	}
	return Figure{len(values), median(values), slices.Min(values), median(generator) >= generatorFull}
}

// Faults says of the runs whose figures mean nothing which they are, and why.
func (r Results) Faults(at Cell) (faults []string) {
	for round, result := range r[at] {
		if fault := result.fault(); fault != "" {
			faults = append(faults, fmt.Sprintf("round %d: %s", round+1, fault))
		}
	}
	return faults
}

func (r Result) fault() string {
	switch {
	case errors.Is(r.Err, ErrUnable):
		return ""
	case r.Err != nil:
		return r.Err.Error()
	}
	return r.Report.Faults()
}

// AppendOther says how busy the machine was with other things.
func (r Results) AppendOther(b *strings.Builder) {
	var other []float64
	for _, results := range r {
		for _, result := range results {
			if result.Err == nil {
				other = append(other, share(result.Report.Other, result.Report))
			}
		}
	}
	if len(other) > 0 {
		fmt.Fprintf(b, "- What else ran on the machine took %.2f cores (median), %.2f at most: the more, the less these figures say.\n", median(other), slices.Max(other))
	}
}

// share is the part of a core that something took.
func share(d time.Duration, r *load.Report) float64 {
	return d.Seconds() / max(r.Elapsed.Seconds(), 1e-9)
}

// median gives the middle of values, which must not be empty.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
