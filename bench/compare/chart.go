//go:build linux

package main

import (
	"fmt"
	"strings"

	"github.com/duplexhq/duplex/internal/load"
)

// chart draws the first metric of each group, a panel for each work.
func (c *comparison) chart() *load.Chart {
	chart := &load.Chart{Note: fmt.Sprintf("Shorter is better. %s, commit %s, median of %d", c.began.UTC().Format("2006-01-02"), c.conditions.Commit, c.rounds)}
	for _, g := range c.groupsToRun() {
		for _, w := range g.works {
			m := g.metrics[0]
			panel := load.Panel{Title: fmt.Sprintf("%s, %s: %s", g.title, w.name, m.title)}
			for _, server := range c.servers {
				f := c.figure(w, server, m)
				value := "-"
				if f.Runs > 0 {
					value = m.format(f.Median)
				}
				panel.Bars = append(panel.Bars, load.Bar{Label: server, Value: f.Median, Text: value, Colour: colour(server)})
			}
			chart.Panels = append(chart.Panels, panel)
		}
	}
	return chart
}

func colour(server string) string {
	switch {
	case server == floor:
		return load.ColourFloor
	case strings.HasPrefix(server, "duplex"):
		return load.ColourOurs
	}
	return load.ColourOther
}
