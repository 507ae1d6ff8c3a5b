package conformance

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// handshake is the suite's half of an opening handshake, and what is expected of the other half.
// Names in braces stand for values: see variables.
type handshake struct {
	Before  string   `json:"before"`  // sent before everything
	Line    string   `json:"line"`    // the first line
	Without []string `json:"without"` // header fields that are left out
	Fields  []string `json:"fields"`  // lines that are added, or replace all lines of that name
	Fill    *struct {
		Lines int `json:"lines"`
		Bytes int `json:"bytes"` // of the value of each
	} `json:"fill"` // header fields that mean nothing
	Glue   []frame `json:"glue"` // sent in the same write
	Chop   int     `json:"chop"` // bytes of a segment
	Gap    int     `json:"gap"`  // milliseconds between segments
	Cut    int     `json:"cut"`  // only so many bytes are sent, and no answer is read
	Expect check   `json:"expect"`
}

// check judges the head of a request or a response. All patterns are regular expressions.
type check struct {
	Line       string            `json:"line"`
	Fields     map[string]string `json:"fields"` // the lines of a field are joined by ", "
	Absent     []string          `json:"absent"`
	MayEnd     bool              `json:"may_end"`     // the connection may end without a response
	SkipUnless map[string]string `json:"skip_unless"` // the case is for those that do this
	SkipIf     map[string]string `json:"skip_if"`
}

// variables are the values for names in braces: host, path, key, accept, subprotocol, and deflate,
// the least that answers the client's offer.
type variables map[string]string

func (v variables) fill(text string) string {
	for name, value := range v {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// head gives the bytes of a request or a response, made of a first line and fields.
func (h *handshake) head(line string, fields []string, v variables) []byte {
	if h.Line != "" {
		line = h.Line
	}
	lines := []string{h.Before + line}
	for _, field := range fields {
		sameName := func(other string) bool { return strings.EqualFold(fieldName(other), fieldName(field)) }
		if !slices.ContainsFunc(h.Without, sameName) && !slices.ContainsFunc(h.Fields, sameName) {
			lines = append(lines, field)
		}
	}
	for _, field := range h.Fields {
		if !strings.HasSuffix(v.fill(field), ": ") { // nothing to answer is no answer
			lines = append(lines, field)
		}
	}
	var b bytes.Buffer
	b.WriteString(v.fill(strings.Join(lines, "\r\n")) + "\r\n")
	if h.Fill != nil {
		value := strings.Repeat("x", h.Fill.Bytes)
		for n := range h.Fill.Lines {
			fmt.Fprintf(&b, "X-Fill-%d: %s\r\n", n, value)
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func fieldName(line string) string {
	name, _, _ := strings.Cut(line, ":")
	return name
}

var requestFields = []string{
	"Host: {host}",
	"Upgrade: websocket",
	"Connection: Upgrade",
	"Sec-WebSocket-Key: {key}",
	"Sec-WebSocket-Version: 13",
}

var responseFields = []string{
	"Upgrade: websocket",
	"Connection: Upgrade",
	"Sec-WebSocket-Accept: {accept}",
}

// key gives the key of a request: one that a case chose, or a new one.
func (h *handshake) key() string {
	for _, field := range h.Fields {
		if name, value, _ := strings.Cut(field, ":"); strings.EqualFold(name, "Sec-WebSocket-Key") {
			return strings.TrimSpace(value)
		}
	}
	var random [16]byte
	rand.Read(random[:])
	return base64.StdEncoding.EncodeToString(random[:])
}

// acceptKey follows RFC 6455 §4.2.2.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// head is what came from the implementation under test.
type head struct {
	line   string
	header http.Header
}

// readResponse leaves out interim responses (RFC 9110 §15.2).
func readResponse(r *bufio.Reader) (head, error) {
	for {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return head{}, err
		}
		if response.StatusCode == http.StatusSwitchingProtocols || response.StatusCode >= 200 {
			return head{response.Proto + " " + response.Status, response.Header}, nil
		}
	}
}

func requestHead(r *http.Request) head {
	header := r.Header.Clone()
	header.Set("Host", r.Host)
	return head{r.Method + " " + r.RequestURI + " " + r.Proto, header}
}

func (h head) field(name string) string { return strings.Join(h.header.Values(name), ", ") }

// judge gives a failure or a skip.
func (c *check) judge(got head, v variables) error {
	for name, pattern := range c.SkipUnless {
		if !matches(pattern, got.field(name), v) {
			return skip(fmt.Sprintf("%s is %q", name, got.field(name)))
		}
	}
	for name, pattern := range c.SkipIf {
		if matches(pattern, got.field(name), v) {
			return skip(fmt.Sprintf("%s is %q", name, got.field(name)))
		}
	}
	if !matches(c.Line, got.line, v) {
		return &failure{expected: fmt.Sprintf("a head whose first line matches %q", v.fill(c.Line)), got: strconv.Quote(got.line)}
	}
	for name, pattern := range c.Fields {
		if !matches(pattern, got.field(name), v) {
			return &failure{
				expected: fmt.Sprintf("%s that matches %q", name, v.fill(pattern)),
				got:      fmt.Sprintf("%q", got.field(name)),
			}
		}
	}
	for _, name := range c.Absent {
		if values := got.header.Values(name); len(values) > 0 {
			return &failure{expected: "no " + name, got: fmt.Sprintf("%q", values)}
		}
	}
	return nil
}

func matches(pattern, value string, v variables) bool {
	quoted := variables{}
	for name, text := range v {
		quoted[name] = regexp.QuoteMeta(text)
	}
	matched, err := regexp.MatchString(quoted.fill(pattern), value)
	return matched && err == nil
}

// upgraded is what every response with status 101 has to be (RFC 6455 §4.1, §4.2.2).
var upgraded = check{Fields: map[string]string{
	"Upgrade":              `^(?i:websocket)$`,
	"Connection":           `(?i)(^|,\s*)upgrade\s*($|,)`,
	"Sec-WebSocket-Accept": `^{accept}$`,
}}
