//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// generatorFull is the share of its core from which the generator may have
// been what limits the messages per second.
const generatorFull = 0.9

// summary is what several runs say about one figure.
type summary struct {
	runs           int
	median, lowest float64
	generator      float64 // median share of its core
}

// summarize leaves out the runs that have failed or had faults.
func (c *comparison) summarize(w work, server string, m metric) (s summary) {
	var values, generator []float64
	for _, r := range c.results[cell{w.name, server}] {
		if r.err == nil && r.report.Faults() == "" {
			values = append(values, m.of(r.report))
			generator = append(generator, share(r.report.Generator, r.report))
		}
	}
	if len(values) == 0 {
		return s
	}
	return summary{len(values), median(values), slices.Min(values), median(generator)}
}

func share(d time.Duration, r *load.Report) float64 {
	return d.Seconds() / max(r.Elapsed.Seconds(), 1e-9)
}

// median gives the middle of values, which must not be empty.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (s summary) text(m metric) string {
	if s.runs == 0 {
		return "-"
	}
	text := m.format(s.median)
	if m.lowest && s.runs > 1 {
		text += " (" + m.format(s.lowest) + ")"
	}
	if m.full && s.generator >= generatorFull {
		text += "*"
	}
	return text
}

func (c *comparison) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# WebSocket servers, side by side\n\n")
	c.appendConditions(&b)
	for _, g := range c.groupsToRun() {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		for _, m := range g.metrics {
			fmt.Fprintf(&b, "\n**%s** (%s)\n\n| server |", m.title, c.spread(m))
			for _, work := range g.works {
				fmt.Fprintf(&b, " %s |", work.name)
			}
			b.WriteString("\n|---|" + strings.Repeat("---:|", len(g.works)) + "\n")
			for _, server := range c.servers {
				fmt.Fprintf(&b, "| %s |", server)
				for _, work := range g.works {
					fmt.Fprintf(&b, " %s |", c.summarize(work, server, m).text(m))
				}
				b.WriteString("\n")
			}
		}
	}
	if faults := c.faults(); len(faults) > 0 {
		b.WriteString("\n## Faults: these runs are not in the tables\n\n")
		for _, fault := range faults {
			fmt.Fprintf(&b, "- %s\n", fault)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *comparison) spread(m metric) string {
	switch {
	case c.rounds == 1:
		return "one run"
	case m.lowest:
		return fmt.Sprintf("median of %d runs, in brackets the lowest", c.rounds)
	}
	return fmt.Sprintf("median of %d runs", c.rounds)
}

func (c *comparison) appendConditions(b *strings.Builder) {
	fmt.Fprintf(b, "- %s, commit %s, %v long.\n", c.began.UTC().Format(time.DateOnly), c.conditions.Commit, time.Since(c.began).Round(time.Second))
	fmt.Fprintf(b, "- %s.\n", c.conditions.Machine)
	fmt.Fprintf(b, "- %s.\n", strings.Join(c.conditions.Versions, ", "))
	if c.unpinned {
		b.WriteString("- Server and generator share all cores.\n")
	} else {
		fmt.Fprintf(b, "- Server on core %d with GOMAXPROCS=1, generator on core %d.\n", rig.ServerCore, rig.GeneratorCore)
	}
	fmt.Fprintf(b, "- A fresh server for each run, servers in turn within each of %d rounds, %v measured after 200 ms of warm-up, plain TCP on loopback.\n", c.rounds, c.duration)
	var other []float64
	for _, results := range c.results {
		for _, r := range results {
			if r.err == nil {
				other = append(other, share(r.report.Other, r.report))
			}
		}
	}
	if len(other) > 0 {
		fmt.Fprintf(b, "- What else ran on the machine took %.2f cores (median), %.2f at most: the more, the less these figures say.\n", median(other), slices.Max(other))
	}
	fmt.Fprintf(b, "- `%s` is no WebSocket server: it sends bytes on without looking at them. `*`: the generator had no time left, so that more may have been possible. `-`: not done, or no run without a fault.\n", floor)
}
