package view

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/internal/jsonscan"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// A Problem is why a request or an op is refused (RFC 9457, PROTOCOL.md §9).
type Problem struct {
	Type    string // the name alone, as "bad-topic": see URN
	Title   string // the same for all problems of the type
	Detail  string // for people; may be empty
	Status  int
	Header  http.Header // more fields of the answer; may be nil
	Offered []string    // the media types that a 406 lists
}

// problems are the types that there are (PROTOCOL.md §9.2). A title never
// changes.
var problems = map[string]struct {
	status int
	title  string
}{
	"bad-topic":              {400, "Not the name of a topic"},
	"bad-pattern":            {400, "Not a pattern"},
	"bad-parameter":          {400, "A parameter is missing or has a value that it cannot have"},
	"bad-json":               {400, "The JSON does not parse"},
	"bad-event-type":         {400, "Not an event type that can be published"},
	"missing-data":           {400, "There is no data to publish"},
	"bad-handshake":          {400, "Not a WebSocket handshake that this URL can answer"},
	"too-many-subscriptions": {400, "More subscriptions than one request or connection may have"},
	"system-topic":           {403, "The topic belongs to the system"},
	"origin-refused":         {403, "Pages of that origin may not do this"},
	"presence-off":           {404, "Who is on this topic is not recorded"},
	"not-found":              {404, "There is nothing at this path"},
	"method-not-allowed":     {405, "The path does not take this method"},
	"not-acceptable":         {406, "Nothing that is offered is acceptable"},
	"topic-ended":            {409, "The topic has ended"},
	"key-in-progress":        {409, "The first publish with this key has not finished"},
	"too-big":                {413, "The event, the batch or the body is too big"},
	"unsupported-media-type": {415, "The body has a type or an encoding that is not read here"},
	"too-slow":               {408, "Too slow for a bound of the server"},
	"key-reused":             {422, "The key stood for another publish"},
	"upgrade-required":       {426, "This needs a WebSocket handshake of version 13"},
	"internal":               {500, "The server has a fault"},
	"unavailable":            {503, "The log cannot be read or written now"},
	"limit-reached":          {503, "A limit of the server is reached"},
	"shutting-down":          {503, "The server is shutting down"},
}

// newProblem makes a problem of a type that problems has. If it goes away by
// itself, it says when to try again.
func newProblem(name, detail string) *Problem {
	t := problems[name]
	p := &Problem{Type: name, Title: t.title, Detail: detail, Status: t.status}
	if t.status == http.StatusServiceUnavailable || name == "key-in-progress" {
		p.Header = http.Header{"Retry-After": {"1"}}
	}
	return p
}

// upgradeRequired tells which handshake is wanted.
func upgradeRequired(r *http.Request) *Problem {
	p := newProblem("upgrade-required", "")
	p.Header = http.Header{"Sec-Websocket-Version": {"13"}}
	if r.ProtoMajor == 1 { // HTTP/2 and later have no Upgrade (RFC 9113 §8.2.2)
		// RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in
		// a 426 response"; §7.8: with it, "upgrade" in Connection.
		p.Header["Upgrade"] = []string{"websocket"}
		p.Header["Connection"] = []string{"Upgrade"}
	}
	return p
}

// problemOf makes the problem of an error. One that it does not know is a
// fault of ours, of which the client is told nothing.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*topic.NameError](err); ok {
		return newProblem(nameProblem(e), detailOf(e))
	}
	if e, ok := errors.AsType[*topic.TypeError](err); ok {
		return newProblem("bad-event-type", detailOf(e))
	}
	if e, ok := errors.AsType[*presence.MemberError](err); ok {
		return newProblem("bad-parameter", e.Error()[len("presence: "):])
	}
	if e, ok := errors.AsType[*jsonscan.SyntaxError](err); ok {
		return newProblem("bad-json", "byte "+strconv.Itoa(e.Offset)+": "+e.Reason)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem("too-big", "more than "+strconv.FormatInt(e.Limit, 10)+" bytes")
	}
	switch {
	case errors.Is(err, topic.ErrNotJSON):
		return newProblem("bad-json", "the data is not one JSON value in UTF-8")
	case errors.Is(err, topic.ErrEnded):
		return newProblem("topic-ended", "")
	case errors.Is(err, topic.ErrKeyReused):
		return newProblem("key-reused", "")
	case errors.Is(err, topic.ErrKeyInProgress):
		return newProblem("key-in-progress", "")
	case errors.Is(err, topic.ErrTooManyTopics):
		return newProblem("limit-reached", "there are as many topics as --max-topics allows")
	case errors.Is(err, topic.ErrTooManyKeys):
		return newProblem("limit-reached", "as many idempotency keys are remembered as --max-keys allows")
	case errors.Is(err, presence.ErrTooManyMembers):
		return newProblem("limit-reached", "there are as many members as --max-members allows")
	case errors.Is(err, topic.ErrTooSlow):
		return newProblem("too-slow", "more than --max-lag-bytes or --max-lag-time allows")
	case errors.Is(err, topic.ErrClosed):
		return newProblem("shutting-down", "")
	case errors.Is(err, topic.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return newProblem("unavailable", "")
	}
	return newProblem("internal", "")
}

// nameProblem tells names that are none from patterns that are none.
func nameProblem(e *topic.NameError) string {
	if e.System {
		return "system-topic"
	}
	if _, err := topic.ParsePattern(e.Name); err == nil {
		return "bad-topic" // a pattern, where one topic was needed
	}
	if _, err := topic.ParsePattern(strings.ReplaceAll(e.Name, "*", "x")); err == nil {
		return "bad-pattern" // only its wildcards are wrong
	}
	return "bad-topic"
}

// detailOf is the text of an error of package topic, without the package.
func detailOf(err error) string { return strings.TrimPrefix(err.Error(), "topic: ") }

// URN is the type as clients see it.
func (p *Problem) URN() string { return "urn:duplex:problem:" + p.Type }

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Type
	}
	return p.Type + ": " + p.Detail
}

// at says which part of a body has the problem.
func (p *Problem) at(place string) *Problem {
	p.Detail = place + ": " + cmp.Or(p.Detail, p.Title)
	return p
}

// appendMembers appends the problem as members of a JSON object, as an op is
// refused with (PROTOCOL.md §8.4).
func (p *Problem) appendMembers(dst []byte) []byte {
	dst = append(dst, `"status":`...)
	dst = strconv.AppendInt(dst, int64(p.Status), 10)
	dst = append(dst, `,"type":`...)
	dst = append(dst, marshal(p.URN())...)
	dst = append(dst, `,"title":`...)
	dst = append(dst, marshal(p.Title)...)
	if p.Detail != "" {
		dst = append(dst, `,"detail":`...)
		dst = append(dst, marshal(p.Detail)...)
	}
	return dst
}

// write answers the request with the problem.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	body := marshal(struct {
		Type    string   `json:"type"`
		Title   string   `json:"title"`
		Status  int      `json:"status"`
		Detail  string   `json:"detail,omitempty"`
		Offered []string `json:"offered,omitempty"`
	}{p.URN(), p.Title, p.Status, p.Detail, p.Offered})
	header := w.Header()
	setCommon(header)
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	maps.Copy(header, p.Header)
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead { // RFC 9110 §9.3.2
		_, _ = w.Write(body) // an error means that the client is gone
	}
}

// Values of fields that many answers share. Nobody changes them.
var (
	varyAll = []string{"Accept, Prefer, Last-Event-ID, Origin"}
	nosniff = []string{"nosniff"}
	noStore = []string{"no-store"}
	isJSON  = []string{"application/json"}
)

// setCommon sets the fields of all answers (PROTOCOL.md §5.8). An answer that
// may be kept sets another Cache-Control.
func setCommon(header http.Header) {
	header["Vary"] = varyAll
	header["X-Content-Type-Options"] = nosniff
	header["Cache-Control"] = noStore
}

// marshal is json.Marshal that leaves "&" as it is: no answer of ours is put
// into HTML.
func marshal(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // it gets strings, numbers and structs of them only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
