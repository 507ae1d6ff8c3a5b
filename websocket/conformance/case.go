package conformance

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

// Role is a side of a connection.
type Role string

// The roles of the implementation under test.
const (
	Server Role = "server"
	Client Role = "client"
)

// Level says how much is asked.
type Level string

const (
	// Must is required by the RFC.
	Must Level = "must"
	// Should is recommended by the RFC.
	Should Level = "should"
	// Care is left open by the RFC, and expected of an implementation that meets people who mean
	// harm.
	Care Level = "care"
)

// Case is something to try on an implementation, and what has to come of it.
type Case struct {
	ID    string // "group/name", or "group/name/row"
	RFC   string // such as "RFC 6455 §5.2"
	Quote string // of the RFC
	Level Level

	under Role // "" for both
	needs []string
	steps []step
}

// step has one of its fields; connect and accept may stand together, for one role each.
type step struct {
	Connect *handshake `json:"connect"` // to a server under test
	Accept  *handshake `json:"accept"`  // a client under test
	Send    []frame    `json:"send"`
	Chop    int        `json:"chop"`  // bytes of a segment of Send
	Gap     int        `json:"gap"`   // milliseconds between segments
	Pause   int        `json:"pause"` // milliseconds
	End     string     `json:"end"`   // half-close or reset
	Expect  *expect    `json:"expect"`
}

// expect is judged in the order of its fields.
type expect struct {
	Messages []frame   `json:"messages"` // opcode and payload
	Pongs    []payload `json:"pongs"`    // the last of them, perhaps after others of them
	Keys     bool      `json:"keys"`     // no two frames had the same masking key
	Close    []int     `json:"close"`    // a close frame with one of these codes; 1005 is none
	Fail     []int     `json:"fail"`     // the connection fails, with one of these codes
	End      bool      `json:"end"`      // the TCP connection ends
	After    string    `json:"after"`    // the end may take this much longer: an option's name
	Nothing  int       `json:"nothing"`  // for so many milliseconds
}

// last reports whether nothing can come after the expectation.
func (e *expect) last() bool { return e != nil && (e.Close != nil || e.Fail != nil || e.End) }

// group is a file of cases.
type group struct {
	Group string     `json:"group"`
	Begin step       `json:"begin"` // the first step of cases that have no handshake of their own
	Cases []template `json:"cases"`
}

// template is a case, or a case for each row of a table.
type template struct {
	Name  string   `json:"name"`
	RFC   string   `json:"rfc"`
	Quote string   `json:"quote"`
	Level Level    `json:"level"`
	Under Role     `json:"under"`
	Needs []string `json:"needs"`
	Table *struct {
		Columns []string `json:"columns"`
		Rows    [][]any  `json:"rows"`
	} `json:"table"`
	Steps any `json:"steps"`
}

//go:embed cases/*.json
var files embed.FS

// Cases gives the cases for a role under test, in a fixed order.
func Cases(under Role) []Case {
	var cases []Case
	for _, c := range all() {
		if c.under == "" || c.under == under {
			cases = append(cases, c)
		}
	}
	return cases
}

var all = sync.OnceValue(mustLoad)

func mustLoad() (cases []Case) {
	names, err := fs.Glob(files, "cases/*.json")
	for _, name := range names {
		var more []Case
		if more, err = load(name); err != nil {
			break
		}
		cases = append(cases, more...)
	}
	if err != nil {
		panic("conformance: " + err.Error()) // the files are part of the program
	}
	return cases
}

func load(name string) (cases []Case, err error) {
	data, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var g group
	if err := strictly(data, &g); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, t := range g.Cases {
		expanded, err := t.expand(g)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, t.Name, err)
		}
		cases = append(cases, expanded...)
	}
	return cases, nil
}

// strictly takes no field that the format does not have: it would be a misspelt one.
func strictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	d.UseNumber()
	return d.Decode(v)
}

func (t *template) expand(g group) (cases []Case, err error) {
	id := g.Group + "/" + t.Name
	if t.Table == nil {
		c, err := t.build(g, id, nil)
		return []Case{c}, err
	}
	for _, row := range t.Table.Rows {
		if len(row) != len(t.Table.Columns) {
			return nil, fmt.Errorf("row %v: not as many values as columns", row)
		}
		values := map[string]any{}
		for i, column := range t.Table.Columns {
			values[column] = row[i]
		}
		c, err := t.build(g, fmt.Sprint(id, "/", row[0]), values)
		if err != nil {
			return nil, fmt.Errorf("row %v: %w", row, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func (t *template) build(g group, id string, row map[string]any) (Case, error) {
	c := Case{ID: id, RFC: t.RFC, Quote: t.Quote, Level: cmp.Or(t.Level, Must), under: t.Under, needs: t.Needs}
	data, err := json.Marshal(fillIn(t.Steps, row))
	if err != nil {
		return c, err
	}
	if err := strictly(data, &c.steps); err != nil {
		return c, err
	}
	first := step{Connect: &handshake{}, Accept: &handshake{}}
	if g.Begin.Connect != nil {
		first = g.Begin
	}
	if len(c.steps) == 0 || c.steps[0].Connect == nil && c.steps[0].Accept == nil {
		c.steps = append([]step{first}, c.steps...)
	}
	return c, nil
}

// fillIn puts the values of a row where the steps name their columns: "$column" becomes the value,
// whatever its type, and "${column}" inside a longer string its text.
func fillIn(v any, row map[string]any) any {
	switch v := v.(type) {
	case string:
		if value, ok := row[strings.TrimPrefix(v, "$")]; ok && v[0] == '$' {
			return value
		}
		for column, value := range row {
			v = strings.ReplaceAll(v, "${"+column+"}", fmt.Sprint(value))
		}
		return v
	case []any:
		filled := make([]any, len(v))
		for i, element := range v {
			filled[i] = fillIn(element, row)
		}
		return filled
	case map[string]any:
		filled := map[string]any{}
		for key, element := range v {
			filled[key] = fillIn(element, row)
		}
		return filled
	}
	return v
}
