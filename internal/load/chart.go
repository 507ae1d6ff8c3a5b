package load

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Chart is a picture of horizontal bars.
type Chart struct {
	Note   string // above all
	Panels []Panel
}

// Panel is a title, and bars that have a scale of their own.
type Panel struct {
	Title  string
	Target float64 // where a line is drawn, if it is not 0
	Bars   []Bar
}

// Bar is one value.
type Bar struct {
	Label  string
	Value  float64
	Text   string // that stands for the value
	Colour string // such as #4c6ef5
}

// Colours of bars.
const (
	ColourOurs  = "#d9480f"
	ColourOther = "#4c6ef5"
	ColourFloor = "#bbb"
)

const (
	chartWidth  = 800
	labelWidth  = 190
	valueWidth  = 90
	barHeight   = 14
	barStep     = 19
	titleHeight = 34
	chartMargin = 16
)

// SVG draws the chart.
func (c *Chart) SVG() []byte {
	var body bytes.Buffer
	y := chartMargin + 24
	for i := range c.Panels {
		y = c.Panels[i].draw(&body, y)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, y+chartMargin)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, y+chartMargin)
	drawText(&b, chartMargin, chartMargin+8, "#555", c.Note)
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws the panel from y on, and gives where it ends.
func (p *Panel) draw(b *bytes.Buffer, y int) int {
	drawText(b, chartMargin, y+titleHeight-12, "#000", p.Title)
	y += titleHeight
	longest := p.Target
	for _, bar := range p.Bars {
		longest = max(longest, bar.Value)
	}
	length := func(value float64) float64 {
		if longest <= 0 || value <= 0 {
			return 0
		}
		return value / longest * (chartWidth - 2*chartMargin - labelWidth - valueWidth)
	}
	top := y
	for _, bar := range p.Bars {
		drawText(b, chartMargin, y+barHeight-3, "#333", bar.Label)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", chartMargin+labelWidth, y, length(bar.Value), barHeight, bar.Colour)
		drawText(b, chartMargin+labelWidth+int(length(bar.Value))+6, y+barHeight-3, "#333", bar.Text)
		y += barStep
	}
	if p.Target > 0 {
		x := chartMargin + labelWidth + length(p.Target)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%[1]f" y2="%d" stroke="#2b8a3e" stroke-width="2" stroke-dasharray="4 2"/>`+"\n", x, top-4, y)
	}
	return y
}

func drawText(b *bytes.Buffer, x, y int, fill, text string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">`, x, y, fill)
	_ = xml.EscapeText(b, []byte(text)) // memory takes everything
	b.WriteString("</text>\n")
}
