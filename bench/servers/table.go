//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// generatorFull is the share of its core from which the generator may have
// been what limits a rate.
const generatorFull = 0.9

// figure is what several runs say about a metric.
type figure struct {
	runs      int
	median    float64
	generator float64 // median share of its core
}

// figure leaves out the runs that have failed or had faults.
func (c *comparison) figure(work, label string, m metric) (f figure) {
	var values, full []float64
	for _, r := range c.results[cell{work, label}] {
		if r.err == nil && r.report.Faults() == "" {
			values = append(values, m.of(r.report))
			full = append(full, generator.of(r.report))
		}
	}
	if len(values) == 0 {
		return f
	}
	return figure{len(values), median(values), median(full)}
}

// median gives the middle of values, which must not be empty.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (f figure) text(m metric) string {
	if f.runs == 0 {
		return "-"
	}
	text := m.text(f.median)
	if m.full && f.generator >= generatorFull {
		text += "*"
	}
	return text
}

// verdict says whether a target is reached, and by which figure.
func (c *comparison) verdict(w *work, t target) string {
	label := cmp.Or(t.entry, nameOurs)
	value, ok := c.over(w.name, label, t.metric, t.over)
	if !ok {
		return "not measured"
	}
	limit, unit := t.least+t.most, t.metric
	if t.factor > 0 {
		m := t.metric
		if t.ofMetric != nil {
			m = *t.ofMetric
		}
		base, ok := c.over(cmp.Or(t.ofWork, w.name), cmp.Or(t.of, label), m, t.over)
		if !ok || base <= 0 {
			return "nothing to compare with"
		}
		limit, value = t.factor, value/base
		unit = metric{digits: 2, fewer: t.metric.fewer}
	}
	met := value >= limit
	if unit.fewer || t.most > 0 {
		met = value <= limit
	}
	text := unit.text(value)
	if t.factor > 0 {
		text += " ×"
	}
	if met {
		return "yes: " + text
	}
	return "**no**: " + text
}

// over gives a figure, divided by that of the work over, if there is one.
func (c *comparison) over(work, label string, m metric, over string) (value float64, ok bool) {
	f := c.figure(work, label, m)
	if f.runs == 0 || over == "" {
		return f.median, f.runs > 0
	}
	divisor := c.figure(over, label, m)
	if divisor.median <= 0 {
		return 0, false
	}
	return f.median / divisor.median, true
}

// best gives the best of those that are neither ours nor a floor.
func (c *comparison) best(w *work) (label string, f figure) {
	m := w.metrics[0]
	for _, e := range c.entries[w.name] {
		if e.peer.kind != other || e.peer.name == nameEmpty {
			continue
		}
		if g := c.figure(w.name, e.label, m); g.runs > 0 && (label == "" || (g.median < f.median) == m.fewer) {
			label, f = e.label, g
		}
	}
	return label, f
}

func (c *comparison) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Servers of events, side by side\n\n")
	c.appendConditions(&b)
	b.WriteString("\n| work | figure | best peer | floor | duplex | ratio to best peer | to floor | target | reached |\n|---|---|---:|---:|---:|---:|---:|---|---|\n")
	for i := range c.works {
		c.appendSummary(&b, &c.works[i])
	}
	for i := range c.works {
		work := &c.works[i]
		fmt.Fprintf(&b, "\n## %s\n\n`-run %s`, median of %d\n\n| server |", work.title, work.name, c.roundsOf(work))
		for _, m := range work.metrics {
			fmt.Fprintf(&b, " %s |", m.title)
		}
		b.WriteString(" lost or doubled |\n|---|" + strings.Repeat("---:|", len(work.metrics)+1) + "\n")
		for _, e := range c.entries[work.name] {
			fmt.Fprintf(&b, "| %s |", e.label)
			for _, m := range work.metrics {
				fmt.Fprintf(&b, " %s |", c.figure(work.name, e.label, m).text(m))
			}
			fmt.Fprintf(&b, " %s |\n", cmp.Or(strings.Join(c.faults(work.name, e.label), "; "), "0"))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// appendSummary appends a line for each target of a work.
func (c *comparison) appendSummary(b *strings.Builder, w *work) {
	m := w.metrics[0]
	bestName, best := c.best(w)
	peer, floorText := "-", "-"
	if bestName != "" {
		peer = bestName + " " + best.text(m)
	}
	floor := c.figure(w.name, nameFloor, m)
	if floor.runs > 0 {
		floorText = floor.text(m)
		if coalescing := c.figure(w.name, nameCoalescing, m); coalescing.runs > 0 {
			floorText += " / " + coalescing.text(m)
		}
	}
	label := nameOurs
	if len(w.targets) > 0 {
		label = cmp.Or(w.targets[0].entry, nameOurs)
	}
	if len(w.targets) == 0 && !slices.ContainsFunc(c.entries[w.name], func(e entry) bool { return e.peer.kind == ours }) {
		return // only others are compared with it
	}
	reached := c.figure(w.name, label, m)
	ratio := func(other figure) string {
		if reached.runs == 0 || other.runs == 0 || other.median <= 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", reached.median/other.median)
	}
	line := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |", w.title, m.title, peer, floorText, reached.text(m), ratio(best), ratio(floor))
	if len(w.targets) == 0 {
		fmt.Fprintf(b, "%s | |\n", line)
	}
	for i, t := range w.targets {
		if i > 0 {
			line = "| | | | | | | |"
		}
		fmt.Fprintf(b, "%s %s | %s |\n", line, t.text, c.verdict(w, t))
	}
}

func (c *comparison) roundsOf(w *work) int {
	if w.rounds > 0 {
		return min(w.rounds, c.rounds)
	}
	return c.rounds
}

// faults lists the runs whose figures mean nothing.
func (c *comparison) faults(work, label string) (faults []string) {
	for round, r := range c.results[cell{work, label}] {
		switch {
		case r.err != nil:
			faults = append(faults, fmt.Sprintf("round %d: %v", round+1, r.err))
		case r.report.Faults() != "":
			faults = append(faults, fmt.Sprintf("round %d: %s", round+1, r.report.Faults()))
		}
	}
	return faults
}

// ourFaults counts the runs of ours whose figures mean nothing.
func (c *comparison) ourFaults() (count int) {
	for _, w := range c.works {
		for _, e := range c.entries[w.name] {
			if e.peer.kind == ours {
				count += len(c.faults(w.name, e.label))
			}
		}
	}
	return count
}

func (c *comparison) appendConditions(b *strings.Builder) {
	fmt.Fprintf(b, "- %s, commit %s, %v long.\n", c.began.UTC().Format(time.DateOnly), c.conditions.Commit, time.Since(c.began).Round(time.Second))
	fmt.Fprintf(b, "- %s.\n", c.conditions.Machine)
	fmt.Fprintf(b, "- %s.\n", strings.Join(c.conditions.Versions, ", "))
	fmt.Fprintf(b, "- Server on core %d (with GOMAXPROCS=1), generator on core %d, unless it says \"all cores\". A fresh server for each run, in turn within each of %d rounds; %v measured after 200 ms of warm-up. Plain TCP on loopback.\n",
		rig.ServerCore, rig.GeneratorCore, c.rounds, c.duration)
	for _, text := range c.found {
		fmt.Fprintf(b, "- %s.\n", text)
	}
	for _, reason := range c.absent {
		fmt.Fprintf(b, "- **Absent**: %s.\n", reason)
	}
	var other []float64
	for _, results := range c.results {
		for _, r := range results {
			if r.err == nil {
				other = append(other, r.report.Other.Seconds()/max(r.report.Elapsed.Seconds(), 1e-9))
			}
		}
	}
	if len(other) > 0 {
		fmt.Fprintf(b, "- What else ran on the machine took %.2f cores (median), %.2f at most: the more, the less these figures say.\n", median(other), slices.Max(other))
	}
	b.WriteString("- `floor` sends each event with one call to each subscriber, and knows next to no protocol; `coalescing floor` sends what has come together in one call (second in the column of floors). `*`: the generator had no time left, so that more may have been possible. `-`: not done, or no run without a fault.\n")
}

// drawn draws the first metric of each work.
func (c *comparison) drawn() *load.Chart {
	chart := &load.Chart{Note: fmt.Sprintf("%s, commit %s, median of %d. Dashed: the target.", c.began.UTC().Format(time.DateOnly), c.conditions.Commit, c.rounds)}
	for i := range c.works {
		w := &c.works[i]
		m := w.metrics[0]
		better := "longer is better"
		if m.fewer {
			better = "shorter is better"
		}
		panel := load.Panel{Title: fmt.Sprintf("%s: %s, %s", w.title, m.title, better)}
		for _, t := range w.targets {
			if t.metric.title == m.title && t.factor == 0 {
				panel.Target = t.least + t.most
			}
		}
		for _, e := range c.entries[w.name] {
			f := c.figure(w.name, e.label, m)
			panel.Bars = append(panel.Bars, load.Bar{Label: e.label, Value: max(f.median, 0), Text: f.text(m), Colour: e.peer.colour()})
		}
		chart.Panels = append(chart.Panels, panel)
	}
	return chart
}

func (p *peer) colour() string {
	switch p.kind {
	case ours:
		return load.ColourOurs
	case theFloor:
		return load.ColourFloor
	}
	return load.ColourOther
}
