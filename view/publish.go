package view

import (
	"crypto/sha256"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// maxMediaBytes bounds a Content-Type, which is kept with every event.
const maxMediaBytes = 255

// publish appends the body to the topic: as one event, or as a batch
// (PROTOCOL.md §7).
func (h *Handler) publish(w http.ResponseWriter, r *http.Request, t target) *Problem {
	name := t.pattern.String()
	if err := topic.CheckName(name); err != nil {
		return problemOf(err) // before the body is read
	}
	p, problem := parsePublishing(r, t)
	if problem != nil {
		return problem
	}
	drafts, problem := h.drafts(w, r, p)
	if problem != nil {
		return problem
	}
	first, err := h.hub.Publish(untilAnswered, name, drafts, p.keyOf(drafts))
	if err != nil {
		return h.problem(r, err)
	}
	w.Header()["Content-Type"] = isJSON
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(p.appendAnswer(make([]byte, 0, 64), first, len(drafts))) // an error means that the client is gone
	return nil
}

// end ends the topic (PROTOCOL.md §7.5).
func (h *Handler) end(w http.ResponseWriter, r *http.Request, t target) *Problem {
	name := t.pattern.String()
	if err := topic.CheckName(name); err != nil {
		return problemOf(err)
	}
	query, problem := parseQuery(r.URL)
	if problem == nil {
		problem = noTopicBesides(t, query)
	}
	if problem != nil {
		return problem
	}
	_, err := h.hub.Publish(untilAnswered, name, []topic.Draft{topic.EndDraft()}, topic.Key{})
	if err != nil && !errors.Is(err, topic.ErrEnded) {
		return h.problem(r, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// A publishing is what a request says about its body.
type publishing struct {
	event      string
	media      string // Content-Type as it was sent
	key        string // "" is none
	batch, end bool
}

func parsePublishing(r *http.Request, t target) (p publishing, problem *Problem) {
	if r.URL.RawQuery != "" { // most have none
		if problem = p.parseQuery(r.URL, t); problem != nil {
			return p, problem
		}
	}
	if problem = refuseEncoding(r); problem != nil {
		return p, problem
	}
	p.media = r.Header.Get("Content-Type")
	if !isMedia(p.media) {
		return p, newProblem("bad-parameter", "Content-Type is not a media type of at most 255 bytes")
	}
	p.key, problem = parseKey(r.Header["Idempotency-Key"])
	return p, problem
}

func (p *publishing) parseQuery(u *url.URL, t target) *Problem {
	query, problem := parseQuery(u)
	if problem != nil {
		return problem
	}
	if problem := noTopicBesides(t, query); problem != nil {
		return problem
	}
	if p.batch, problem = flag(query, "batch"); problem != nil {
		return problem
	}
	if p.end, problem = flag(query, "end"); problem != nil {
		return problem
	}
	if p.batch && p.end {
		return newProblem("bad-parameter", "batch and end exclude each other")
	}
	p.event = strings.Clone(query.Get("event")) // else each event keeps its request's URL
	if err := topic.CheckType(p.event); err != nil {
		return problemOf(err)
	}
	return nil
}

// isMedia reports whether a Content-Type can be kept. None can, too.
func isMedia(s string) bool {
	switch s { // the usual ones, without a parse
	case "", "application/json", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded":
		return true
	}
	base, _, err := mime.ParseMediaType(s)
	return err == nil && strings.Contains(base, "/") && len(s) <= maxMediaBytes
}

// parseKey reads an Idempotency-Key: a string of RFC 9651 §3.3.3, or the same
// without its quotation marks.
func parseKey(fields []string) (string, *Problem) {
	if len(fields) == 0 {
		return "", nil
	}
	key := fields[0]
	quoted := strings.HasPrefix(key, `"`)
	if quoted {
		var ok bool
		if key, ok = unquoteKey(key); !ok {
			return "", newProblem("bad-parameter", "Idempotency-Key is not a string")
		}
	}
	if len(fields) > 1 || key == "" {
		return "", newProblem("bad-parameter", "Idempotency-Key is not one key")
	}
	return key, checkKey(key)
}

// unquoteKey decodes a string. Only `"` and `\` can be, and must be, escaped.
func unquoteKey(s string) (string, bool) {
	body, ok := strings.CutSuffix(s[1:], `"`)
	if !ok || !strings.ContainsAny(body, `"\`) {
		return body, ok
	}
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		switch {
		case body[i] == '"':
			return "", false
		case body[i] == '\\':
			if i++; i == len(body) || body[i] != '"' && body[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(body[i])
	}
	return b.String(), true
}

// checkKey refuses keys that no header could carry. None is good.
func checkKey(key string) *Problem {
	if len(key) > topic.MaxKeyBytes {
		return newProblem("bad-parameter", "the idempotency key is longer than 255 bytes")
	}
	if strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return newProblem("bad-parameter", "the idempotency key is not printable ASCII")
	}
	return nil
}

// keyOf is the key that a retry has, too. A batch of one event is another
// publish than the event alone: its answer is another.
func (p *publishing) keyOf(drafts []topic.Draft) topic.Key {
	key := topic.NewKey(p.key, drafts)
	if p.key != "" && p.batch {
		key.Digest = sha256.Sum256(append(key.Digest[:], "batch"...))
	}
	return key
}

// appendAnswer appends the ids, which are contiguous.
func (p *publishing) appendAnswer(dst []byte, id topic.ID, n int) []byte {
	if !p.batch {
		dst = append(dst, `{"id":"`...)
		return append(id.AppendTo(dst), `"}`...)
	}
	dst = append(dst, `{"ids":[`...)
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(id.AppendTo(dst), '"')
		id.Seq++
	}
	return append(dst, "]}"...)
}

// drafts reads the body.
func (h *Handler) drafts(w http.ResponseWriter, r *http.Request, p publishing) ([]topic.Draft, *Problem) {
	if p.batch {
		return h.batch(w, r, p)
	}
	data, problem := h.readBody(w, r, h.opts.MaxEventBytes)
	if problem != nil {
		return nil, problem
	}
	draft, err := topic.NewDraft(p.event, p.media, data)
	if err != nil {
		return nil, problemOf(err)
	}
	if p.end {
		return []topic.Draft{draft, topic.EndDraft()}, nil
	}
	return []topic.Draft{draft}, nil
}
