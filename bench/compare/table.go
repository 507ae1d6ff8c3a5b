//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/duplexhq/duplex/bench/internal/rig"
)

// figure is what the runs of a server say about a metric.
func (c *comparison) figure(w work, server string, m metric) rig.Figure {
	return c.results.Figure(rig.Cell{Work: w.name, Server: server}, m.of)
}

func (m metric) text(f rig.Figure) string {
	if f.Runs == 0 {
		return "-"
	}
	text := m.format(f.Median)
	if m.lowest && f.Runs > 1 {
		text += " (" + m.format(f.Lowest) + ")"
	}
	if m.full && f.Full {
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
					fmt.Fprintf(&b, " %s |", m.text(c.figure(work, server, m)))
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
	c.results.AppendOther(b)
	fmt.Fprintf(b, "- `%s` is no WebSocket server: it sends bytes on without looking at them. `*`: the generator had no time left, so that more may have been possible. `-`: not done, or no run without a fault.\n", floor)
}
