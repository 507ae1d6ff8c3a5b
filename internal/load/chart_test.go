package load

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestChartIsWellFormed(t *testing.T) {
	chart := Chart{Note: `a "note" & more`, Panels: []Panel{
		{Title: "nothing"},
		{Title: "one < two", Target: 5, Bars: []Bar{{"<us>", 10, "10.0", ColourOurs}, {"them", 2, "2.0", ColourOther}, {"absent", 0, "-", ColourOther}}},
	}}
	svg := chart.SVG()
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	count, text := map[string]int{}, ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			count[token.Name.Local]++
		case xml.CharData:
			text += string(token)
		}
	}
	if count["svg"] != 1 || count["rect"] != 1+3 || count["line"] != 1 || count["text"] != 1+2+2*3 {
		t.Errorf("%v", count)
	}
	for _, want := range []string{`a "note" & more`, "one < two", "<us>", "10.0"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %q", want, text)
		}
	}
}
