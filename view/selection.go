package view

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// A target is what the path of a request names: one topic or pattern, or, if
// it is zero, the topics.
type target struct{ pattern topic.Pattern }

func (t target) isTopic() bool { return t.pattern != topic.Pattern{} }

// target reads the path as it was sent (PROTOCOL.md §2.4).
func (h *Handler) target(r *http.Request) (target, *Problem) {
	path := sentPath(r.URL)
	if path == h.opts.Prefix {
		return target{}, nil
	}
	escaped, ok := strings.CutPrefix(path, h.opts.Prefix+"/")
	if !ok {
		return target{}, newProblem("not-found", "topics are below "+h.opts.Prefix+"/")
	}
	name, err := topic.Unescape(escaped)
	if err != nil {
		return target{}, newProblem("bad-topic", detailOf(err))
	}
	pattern, err := topic.ParsePattern(strings.Clone(name)) // which may outlive the request
	if err != nil {
		return target{}, problemOf(err)
	}
	return target{pattern}, nil
}

// sentPath is the path with the escapes that the client chose. URL.EscapedPath
// makes its own if any character of the path should have been escaped, and
// loses "%2F" by that.
func sentPath(u *url.URL) string {
	if path, err := url.PathUnescape(u.RawPath); err == nil && path == u.Path {
		return u.RawPath
	}
	return u.EscapedPath()
}

// Bounds of "limit" (PROTOCOL.md §5.3).
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// A reading is what a request wants to read, and how.
type reading struct {
	transport   transport
	patterns    []topic.Pattern // none: the list of topics, or a duplex.v1 connection that begins without
	topicPath   bool            // the pattern is the path's
	lastEventID string          // a cursor; it wins over after
	after       string          // a cursor, "earliest" or "now"
	limit       int
	wait        time.Duration // of a longpoll
	envelope    bool
	member      string     // who is on the topics; "" is the connection itself
	from        string     // of the list
	query       url.Values // the URL's, for links
}

// oneTopic reports whether the reading is over when its topic is.
func (rd *reading) oneTopic() bool { return len(rd.patterns) == 1 && rd.patterns[0].Literal() }

// selection is the reading as one subscription.
func (rd *reading) selection(start topic.Start) topic.Selection {
	return topic.Selection{Patterns: rd.patterns, Start: start}
}

// parseReading reads the parameters of a request that reads. body has those of
// its body, and is nil if there can be none.
func (h *Handler) parseReading(r *http.Request, t target, body url.Values) (*reading, *Problem) {
	query, problem := parseQuery(r.URL)
	if problem != nil {
		return nil, problem
	}
	if problem := noTopicBesides(t, query); problem != nil {
		return nil, problem
	}
	rd := &reading{query: query, topicPath: t.isTopic(), lastEventID: r.Header.Get("Last-Event-ID"), from: query.Get("from")}
	if rd.patterns, problem = h.patterns(t, query["topic"], body["topic"]); problem != nil {
		return nil, problem
	}
	if len(rd.patterns) == 0 && body != nil {
		return nil, newProblem("bad-parameter", "there is no topic")
	}
	if problem = h.checkPresence(r.Context(), rd.patterns); problem != nil {
		return nil, problem
	}
	if rd.member, problem = parseMember(query); problem != nil {
		return nil, problem
	}
	if rd.envelope, problem = flag(query, "envelope"); problem != nil {
		return nil, problem
	}
	rd.after, _ = parameter(query, body, "after")
	rd.limit = defaultLimit
	if s, ok := parameter(query, body, "limit"); ok {
		if rd.limit, ok = parseLimit(s); !ok {
			return nil, newProblem("bad-parameter", "limit is not an integer")
		}
	}
	rd.transport, rd.wait, problem = h.transport(r, rd, body)
	return rd, problem
}

// transport chooses how the reading is answered.
func (h *Handler) transport(r *http.Request, rd *reading, body url.Values) (transport, time.Duration, *Problem) {
	if isWebTransport(r) {
		return asWebTransport, 0, nil
	}
	offered := topicOffers
	if len(rd.patterns) == 0 {
		offered = listOffers
	}
	wish := wish{accept: r.Header["Accept"], prefer: r.Header["Prefer"]}
	wish.as, wish.hasAs = parameter(rd.query, nil, "as")
	wish.wait, wish.hasWait = parameter(rd.query, body, "wait")
	switch {
	case isHandshake(r): // it wins over as
		wish.as, wish.hasAs, offered = string(asWebSocket), true, topicOffers
	case r.Method == http.MethodHead: // PROTOCOL.md §5.14: "whatever Accept says"
		wish.accept, offered = nil, topicOffers
	}
	return negotiate(wish, offered, h.opts.MaxWait)
}

// patterns collects the topics and patterns to read, each once.
func (h *Handler) patterns(t target, lists ...[]string) ([]topic.Pattern, *Problem) {
	if t.isTopic() {
		return []topic.Pattern{t.pattern}, nil
	}
	var patterns []topic.Pattern
	seen := make(map[topic.Pattern]bool)
	for _, list := range lists {
		for _, name := range list {
			pattern, err := topic.ParsePattern(strings.Clone(name)) // which may outlive the request
			if err != nil {
				return nil, problemOf(err)
			}
			if seen[pattern] {
				continue
			}
			if len(patterns) == h.opts.MaxSubscriptions {
				return nil, newProblem("too-many-subscriptions", "more than --max-subscriptions, which is "+strconv.Itoa(h.opts.MaxSubscriptions))
			}
			seen[pattern] = true
			patterns = append(patterns, pattern)
		}
	}
	return patterns, nil
}

// noTopicBesides refuses "topic" where the path names one (PROTOCOL.md §2.5).
func noTopicBesides(t target, query url.Values) *Problem {
	if t.isTopic() && query.Has("topic") {
		return newProblem("bad-parameter", "topic is not for a path that names one")
	}
	return nil
}

// parseQuery is URL.Query that refuses what cannot be decoded.
func parseQuery(u *url.URL) (url.Values, *Problem) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, newProblem("bad-parameter", "the query cannot be decoded")
	}
	return query, nil
}

// parameter returns the first value of a parameter; the body's wins
// (PROTOCOL.md §5.13).
func parameter(query, body url.Values, name string) (value string, ok bool) {
	for _, values := range []url.Values{body, query} {
		if v := values[name]; len(v) > 0 {
			return v[0], true
		}
	}
	return "", false
}

// flag reads a parameter that counts when it is there (PROTOCOL.md §1.4).
func flag(query url.Values, name string) (bool, *Problem) {
	if !query.Has(name) {
		return false, nil
	}
	switch query.Get(name) {
	case "", "1", "true":
		return true, nil
	}
	return false, newProblem("bad-parameter", name+" is a flag: it has no value, 1 or true")
}

// parseLimit reads an integer and clamps it.
func parseLimit(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	if err != nil && !errors.Is(err, strconv.ErrRange) || strings.HasPrefix(s, "+") {
		return 0, false
	}
	return min(max(n, 1), maxLimit), true // out of range, n is the nearest int
}
