package view

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/duplexhq/duplex/internal/look"
	"github.com/duplexhq/duplex/topic"
)

var (
	//go:embed page/topic.html
	topicHTML string
	//go:embed page/topics.html
	topicsHTML string
	//go:embed page/page.css
	ownCSS string
	//go:embed page/topic.js
	topicJS string

	pageCSS = look.CSS + ownCSS

	topicPage  = template.Must(template.New("").Parse(topicHTML))
	topicsPage = template.Must(template.New("").Parse(topicsHTML))

	// What all pages share, outside of the templates.
	styleElement  = []byte("<style>" + pageCSS + "</style>\n")
	scriptElement = []byte("<script>" + topicJS + "</script>\n")

	// Nothing but the page's own script and style runs, whatever is published
	// (PROTOCOL.md §5.11).
	pagePolicy = "default-src 'none'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
		"style-src " + policyHash(pageCSS) + "; script-src " + policyHash(topicJS)
)

func policyHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageEvents is how many events the page of a topic begins with.
const pageEvents = 50

// html answers with a live page of the topics, for people (PROTOCOL.md §5.11).
func (h *Handler) html(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	if len(rd.patterns) == 0 {
		return h.htmlTopics(w, r, rd)
	}
	newest := *rd
	newest.limit = min(rd.limit, pageEvents)
	p, err := h.page(r.Context(), &newest)
	if err != nil {
		return h.problem(r, err)
	}
	names := make([]string, len(rd.patterns))
	for i, pattern := range rd.patterns {
		names[i] = pattern.String()
	}
	address := h.opts.Prefix + "?" + url.Values{"topic": names}.Encode()
	publish := ""
	if len(names) == 1 {
		address = h.topicURL(names[0])
		if rd.patterns[0].Literal() {
			publish = names[0]
		}
	}
	slices.Reverse(p.events)
	about := map[string]any{
		"Title":    strings.Join(names, ", "),
		"URL":      address,
		"Absolute": origin(r) + address,
		"Prefix":   h.opts.Prefix,
		"Publish":  publish,
		"Cursor":   p.cursor.String(),
		"Count":    len(p.events),
	}
	setHTMLHeader(w.Header())
	writeBody(w, func(add func([]byte)) {
		add(execute(topicPage, "head", about))
		add(styleElement)
		add(execute(topicPage, "body", about))
		for _, e := range p.events {
			add(e.Encode(formItems))
		}
		add(execute(topicPage, "foot", about))
		add(scriptElement)
	})
	return nil
}

// items is an event as an item of the page of its topic.
type items struct{}

func (items) AppendEvent(dst []byte, e *topic.Event) []byte {
	t := e.Time()
	item := struct {
		ID, Topic, Type, Time, Clock, Data string
		Image                              template.URL
	}{
		ID: e.ID.String(), Topic: e.Topic, Type: e.Type,
		Time: t.Format("2006-01-02T15:04:05.000Z07:00"), Clock: t.Format("15:04:05"),
		Data: string(e.Data),
	}
	if e.Kind == topic.Binary {
		item.Data = string(topic.AppendDataURL(nil, e.Media, e.Data))
		if strings.HasPrefix(item.Data, "data:image/") {
			item.Image = template.URL(item.Data)
		}
	}
	return append(dst, execute(topicPage, "event", item)...)
}

// AppendSignal appends nothing: the page has none.
func (items) AppendSignal(dst []byte, _ topic.Signal) []byte { return dst }

func (h *Handler) htmlTopics(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	list, next, err := h.listPage(r.Context(), rd)
	if err != nil {
		return h.problem(r, err)
	}
	if next != "" {
		next = h.opts.Prefix + next // also from another path that shows the list
	}
	about := map[string]any{"Prefix": h.opts.Prefix, "Absolute": origin(r) + h.opts.Prefix, "Topics": len(list), "Next": next}
	setHTMLHeader(w.Header())
	writeBody(w, func(add func([]byte)) {
		add(execute(topicsPage, "head", nil))
		add(styleElement)
		add(execute(topicsPage, "body", about))
		for _, l := range list {
			add(execute(topicsPage, "topic", struct {
				listed
				URL string
			}{l, h.topicURL(l.Topic)}))
		}
		add(execute(topicsPage, "foot", about))
	})
	return nil
}

// execute makes a part of a page.
func execute(page *template.Template, part string, data any) []byte {
	var b bytes.Buffer
	if err := page.ExecuteTemplate(&b, part, data); err != nil {
		panic(err) // the templates are our own, and so is what they are given
	}
	return b.Bytes()
}

func setHTMLHeader(header http.Header) {
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "same-origin")
}

// topicURL is the path of a topic or pattern, escaped.
func (h *Handler) topicURL(name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(s), "%2A", "*")
	}
	return h.opts.Prefix + "/" + strings.Join(segments, "/")
}

// origin is where the client sees this server.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
