package view

import (
	"bytes"
	_ "embed"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// The head of the page, and the length from which on browsers begin to run what
// they have of one.
var (
	//go:embed page/iframe.html
	iframeHTML string

	iframePadding = 1024
)

// maxCallback bounds the name of a function, in bytes.
const maxCallback = 64

// iframe answers with a page without end that calls a function of its parent for
// each event (PROTOCOL.md §5.20).
func (h *Handler) iframe(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	callback, ok := parameter(rd.query, nil, "callback")
	if !ok {
		callback = "duplex"
	}
	if !isFunction(callback) {
		return newProblem("bad-parameter", "callback is no name of a function, such as receive or app.receive")
	}
	header := w.Header()
	// Only what is written here runs: data comes as strings that end no script.
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
	header.Set("Referrer-Policy", "same-origin")
	return h.follow(w, r, rd, follower{
		media: "text/html; charset=utf-8",
		form:  calls{one: rd.oneTopic()},
		opening: func() []byte {
			head := strings.NewReplacer("CALLBACK", callback, "RETRY", strconv.FormatInt((h.opts.Retry+rand.N(h.opts.Retry)).Milliseconds(), 10)).Replace(iframeHTML)
			return append([]byte(head), "<!--"+strings.Repeat(" ", max(0, iframePadding-len(head)))+"-->\n"...)
		},
	})
}

// isFunction reports whether a name is one of JavaScript, maybe with those of
// the objects that it is in: it cannot be anything else in a script.
func isFunction(name string) bool {
	if len(name) > maxCallback {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		for i, c := range []byte(part) {
			letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$'
			if !letter && (i == 0 || c < '0' || c > '9') {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return true
}

// calls makes of each event and signal a script that calls the page's function
// with its JSON.
type calls struct {
	one bool // the end of the topic is that of the page
}

func (c calls) AppendEvent(dst []byte, e *topic.Event) []byte {
	return appendCall(dst, "e", topic.AppendJSON(nil, e))
}

func (c calls) AppendSignal(dst []byte, s topic.Signal) []byte {
	name := "e"
	if c.one && s.Type == topic.TypeEnd {
		name = "z"
	}
	return appendCall(dst, name, topic.AppendSignalJSON(nil, s))
}

// scriptEscapes are for a string in single quotes in a script in HTML. JSON has
// no line break and no other control character, but these two separators, which
// end a line in old scripts.
var scriptEscapes = []struct{ of, by []byte }{
	{[]byte(`\`), []byte(`\\`)}, // before the others
	{[]byte(`'`), []byte(`\x27`)},
	{[]byte(`<`), []byte(`\x3c`)},
	{[]byte(`>`), []byte(`\x3e`)},
	{[]byte(`&`), []byte(`\x26`)},
	{[]byte("\u2028"), []byte(`\u2028`)},
	{[]byte("\u2029"), []byte(`\u2029`)},
}

func appendCall(dst []byte, name string, text []byte) []byte {
	for _, escape := range scriptEscapes {
		text = bytes.ReplaceAll(text, escape.of, escape.by)
	}
	dst = append(dst, "<script>"...)
	dst = append(dst, name...)
	dst = append(dst, "('"...)
	dst = append(dst, text...)
	return append(dst, "')</script>\n"...)
}
