//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

const (
	chartWidth  = 760
	labelWidth  = 150
	valueWidth  = 70
	barHeight   = 14
	barStep     = 19
	titleHeight = 34
	margin      = 16
)

// chart draws the first metric of each group, a panel for each work.
func (c *comparison) chart() []byte {
	var b bytes.Buffer
	y := margin + 24
	var body bytes.Buffer
	for _, g := range c.groupsToRun() {
		for _, w := range g.works {
			y = c.appendPanel(&body, y, g, w)
		}
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, y+margin)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, y+margin)
	appendText(&b, margin, margin+8, "#555", fmt.Sprintf("Shorter is better. %s, commit %s, median of %d", c.began.UTC().Format("2006-01-02"), c.conditions.commit, c.rounds))
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *comparison) appendPanel(b *bytes.Buffer, y int, g group, w work) int {
	m := g.metrics[0]
	appendText(b, margin, y+titleHeight-12, "#000", fmt.Sprintf("%s, %s: %s", g.title, w.name, m.title))
	y += titleHeight
	longest := 0.0
	for _, server := range c.servers {
		longest = max(longest, c.summarize(w, server, m).median)
	}
	for _, server := range c.servers {
		s := c.summarize(w, server, m)
		appendText(b, margin, y+barHeight-3, "#333", server)
		length := 0.0
		if longest > 0 {
			length = s.median / longest * (chartWidth - 2*margin - labelWidth - valueWidth)
		}
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", margin+labelWidth, y, length, barHeight, colour(server))
		value := "-"
		if s.runs > 0 {
			value = m.format(s.median)
		}
		appendText(b, margin+labelWidth+int(length)+6, y+barHeight-3, "#333", value)
		y += barStep
	}
	return y
}

func colour(server string) string {
	switch {
	case server == floor:
		return "#bbb"
	case strings.HasPrefix(server, "duplex"):
		return "#d9480f"
	}
	return "#4c6ef5"
}

func appendText(b *bytes.Buffer, x, y int, fill, text string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">`, x, y, fill)
	_ = xml.EscapeText(b, []byte(text)) // memory takes everything
	b.WriteString("</text>\n")
}
