package view

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// A transport is the way events reach a client. Its text is what "?as=" says.
type transport string

const (
	asWebSocket transport = "websocket"
	asSSE       transport = "sse"
	asStream    transport = "stream"
	asMultipart transport = "multipart"
	asMixed     transport = "mixed" // the same, by the name of its media type that is for programs
	asIframe    transport = "iframe"
	asLongpoll  transport = "longpoll"
	asPoll      transport = "poll"
	asHTML      transport = "html"

	asWebTransport transport = "webtransport" // no offer: only a CONNECT chooses it
)

// An offer is a transport that a request can choose.
type offer struct {
	transport transport
	media     string
	// widest is the least specific range that chooses it. Wildcards stand only
	// for answers that end.
	widest specificity
}

// Specificity says how precise a media range is (RFC 9110 §12.5.1).
type specificity int

const (
	noRange    specificity = iota
	anyMedia               // */*
	anySubtype             // text/*
	oneMedia               // text/html
	noAccept               // nothing that Accept can say
)

// offers is the table of PROTOCOL.md §5.1: for equal q-values the higher row
// wins.
type offers []offer

var (
	topicOffers = offers{
		{asWebSocket, "", noAccept},
		{asSSE, "text/event-stream", oneMedia},
		{asStream, "application/x-ndjson", oneMedia},
		{asLongpoll, "application/json", anyMedia}, // if the request wants to wait
		{asPoll, "application/json", anyMedia},
		{asHTML, "text/html", anySubtype},
		{asMultipart, "multipart/x-mixed-replace", oneMedia},
		{asMixed, "multipart/mixed", oneMedia},
		{asIframe, "", noAccept},
	}
	listOffers = offers{
		{asPoll, "application/json", anyMedia},
		{asHTML, "text/html", anySubtype},
	}
)

// A wish is what a request that is no handshake says about its answer.
type wish struct {
	as, wait       string   // of the query
	hasAs, hasWait bool     // whether the query has them
	accept, prefer []string // of the header
}

// negotiate chooses one of the offers, and says how long a longpoll waits.
func negotiate(w wish, offered offers, maxWait time.Duration) (transport, time.Duration, *Problem) {
	wait, waits := preferredWait(w.prefer)
	if w.hasWait { // it wins (PROTOCOL.md §5.3)
		if wait, waits = parseSeconds(strings.TrimSuffix(w.wait, "s")); !waits {
			return "", 0, newProblem("bad-parameter", "wait is not a number of seconds")
		}
	}
	if !waits {
		wait = maxWait
	}
	var chosen transport
	if w.hasAs {
		chosen = transport(w.as)
		if !topicOffers.have(chosen) {
			return "", 0, newProblem("bad-parameter", "as is none of "+topicOffers.names())
		}
		if !offered.have(chosen) {
			return "", 0, offered.notAcceptable()
		}
	} else if chosen = offered.accepted(w.accept, waits); chosen == "" {
		return "", 0, offered.notAcceptable()
	}
	if chosen != asLongpoll {
		return chosen, 0, nil
	}
	return chosen, min(wait, maxWait), nil
}

func (o offers) have(t transport) bool {
	return slices.ContainsFunc(o, func(offer offer) bool { return offer.transport == t })
}

// names are for a person.
func (o offers) names() string {
	var names []string
	for _, offer := range o {
		names = append(names, string(offer.transport))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func (o offers) notAcceptable() *Problem {
	p := newProblem("not-acceptable", "")
	for _, offer := range o {
		if offer.media != "" && !slices.Contains(p.Offered, offer.media) {
			p.Offered = append(p.Offered, offer.media)
		}
	}
	return p
}

// accepted returns the transport that Accept likes best, "" if it likes none.
func (o offers) accepted(accept []string, waits bool) transport {
	ranges := parseAccept(accept)
	var best transport
	var most quality
	for _, offer := range o {
		if offer.transport == asLongpoll && !waits {
			continue
		}
		if q, by := judge(offer.media, ranges); by >= offer.widest && q > most {
			best, most = offer.transport, q
		}
	}
	return best
}

// judge returns the quality of a media type, and how specific the range is
// that says so: "the most specific reference has precedence" (RFC 9110
// §12.5.1).
func judge(media string, ranges []mediaRange) (quality, specificity) {
	q, by := quality(0), noRange
	for _, r := range ranges {
		if s := r.matches(media); s > by || s == by && s != noRange && r.q > q {
			q, by = r.q, s
		}
	}
	return q, by
}

// quality is a q-value in thousandths (RFC 9110 §12.4.2).
type quality int

const bestQuality quality = 1000

// A mediaRange is an element of Accept, in lower case. Its parameters are
// ignored, except q: no media type of ours has one that matters.
type mediaRange struct {
	media string
	q     quality
}

// matches says how specifically the range means the media type.
func (r mediaRange) matches(media string) specificity {
	family, _, _ := strings.Cut(media, "/")
	switch r.media {
	case media:
		return oneMedia
	case family + "/*":
		return anySubtype
	case "*/*":
		return anyMedia
	}
	return noRange
}

// parseAccept reads the fields of an Accept header. Malformed elements are
// ignored; no element at all is as no header.
func parseAccept(fields []string) []mediaRange {
	var ranges []mediaRange
	empty := true
	for element := range elements(fields) {
		empty = false
		media, parameters := cutUnquoted(element, ';')
		q, ok := bestQuality, true
		for parameters != "" {
			var parameter string
			parameter, parameters = cutUnquoted(parameters, ';')
			if name, value, _ := strings.Cut(parameter, "="); isToken(name, "q") {
				q, ok = parseQuality(strings.TrimSpace(value))
				break // what follows is not of the range
			}
		}
		if ok {
			ranges = append(ranges, mediaRange{strings.ToLower(strings.TrimSpace(media)), q})
		}
	}
	if empty {
		return []mediaRange{{"*/*", bestQuality}}
	}
	return ranges
}

// parseQuality reads 0 to 1 with at most three decimals. Some clients leave
// out the zero before the point, or write more decimals, which are dropped.
func parseQuality(s string) (quality, bool) {
	whole, decimals, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" && (whole != "" || decimals == "") {
		return 0, false
	}
	var q quality
	if whole == "1" {
		q = bestQuality
	}
	place := bestQuality
	for _, c := range []byte(decimals) {
		if c < '0' || c > '9' {
			return 0, false
		}
		place /= 10
		q += place * quality(c-'0')
	}
	return q, q <= bestQuality
}

// preferredWait returns what a Prefer header says of wait (RFC 7240 §4.3).
// What does not parse is ignored, and "if any preference is specified more
// than once, only the first instance is to be considered" (§2).
func preferredWait(fields []string) (time.Duration, bool) {
	for element := range elements(fields) {
		preference, _ := cutUnquoted(element, ';')
		if name, value, _ := strings.Cut(preference, "="); isToken(name, "wait") {
			value = strings.TrimSpace(value)
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1] // "25" is 25 (§2)
			}
			return parseSeconds(value)
		}
	}
	return 0, false
}

// parseSeconds reads a number of seconds, as RFC 9111 §1.2.2: a greater one
// than 2^31 is that.
func parseSeconds(s string) (time.Duration, bool) {
	var n time.Duration
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+time.Duration(c-'0'), 1<<31)
	}
	return n * time.Second, s != ""
}

// wantsWebSocket reports whether the fields of an Upgrade header name it.
func wantsWebSocket(fields []string) bool {
	for element := range elements(fields) {
		if strings.EqualFold(element, "websocket") {
			return true
		}
	}
	return false
}

// elements gives those of a list, which may come in several fields and have
// empty elements (RFC 9110 §5.6.1).
func elements(fields []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, rest := range fields {
			for rest != "" {
				var element string
				element, rest = cutUnquoted(rest, ',')
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// cutUnquoted cuts at the first separator that is not in a quoted string
// (RFC 9110 §5.6.4).
func cutUnquoted(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == separator:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// isToken compares names of parameters and preferences, in any case.
func isToken(s, token string) bool { return strings.EqualFold(strings.TrimSpace(s), token) }
