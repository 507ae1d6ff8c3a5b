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

// figure is what the runs of an entry say about a metric.
func (c *comparison) figure(work, label string, m metric) rig.Figure {
	return c.results.Figure(rig.Cell{Work: work, Server: label}, m.of)
}

func (m metric) text(f rig.Figure) string {
	if f.Runs == 0 {
		return "-"
	}
	text := m.number(f.Median)
	if m.full && f.Full {
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
	text := unit.number(value)
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
	if f.Runs == 0 || over == "" {
		return f.Median, f.Runs > 0
	}
	divisor := c.figure(over, label, m)
	if divisor.Median <= 0 {
		return 0, false
	}
	return f.Median / divisor.Median, true
}

// best gives the best of those that are neither ours nor a floor.
func (c *comparison) best(w *work) (label string, f rig.Figure) {
	m := w.metrics[0]
	for _, e := range c.entries[w.name] {
		if e.peer.kind != other || e.peer.name == nameEmpty {
			continue
		}
		if g := c.figure(w.name, e.label, m); g.Runs > 0 && (label == "" || (g.Median < f.Median) == m.fewer) {
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
				fmt.Fprintf(&b, " %s |", m.text(c.figure(work.name, e.label, m)))
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
		peer = bestName + " " + m.text(best)
	}
	floor := c.figure(w.name, nameFloor, m)
	if floor.Runs > 0 {
		floorText = m.text(floor)
		if coalescing := c.figure(w.name, nameCoalescing, m); coalescing.Runs > 0 {
			floorText += " / " + m.text(coalescing)
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
	ratio := func(other rig.Figure) string {
		if reached.Runs == 0 || other.Runs == 0 || other.Median <= 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", reached.Median/other.Median)
	}
	line := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |", w.title, m.title, peer, floorText, m.text(reached), ratio(best), ratio(floor))
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
func (c *comparison) faults(work, label string) []string {
	return c.results.Faults(rig.Cell{Work: work, Server: label})
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
	c.results.AppendOther(b)
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
			panel.Bars = append(panel.Bars, load.Bar{Label: e.label, Value: max(f.Median, 0), Text: m.text(f), Colour: e.peer.colour()})
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
