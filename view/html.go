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
	"strconv"
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

	topicPage  = template.Must(template.New("topic").Parse(topicHTML))
	topicsPage = template.Must(template.New("topics").Parse(topicsHTML))

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

type htmlEvent struct {
	ID, Topic, Type, Time, Clock, Data string
	Image                              template.URL
}

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
	var events []htmlEvent
	for _, e := range slices.Backward(p.events) {
		events = append(events, newHTMLEvent(&e.Event))
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
	return h.writeHTML(w, r, topicPage, map[string]any{
		"Title":    strings.Join(names, ", "),
		"URL":      address,
		"Absolute": origin(r) + address,
		"Prefix":   h.opts.Prefix,
		"Publish":  publish,
		"Cursor":   p.cursor.String(),
		"Events":   events,
		"Style":    template.CSS(pageCSS),
		"Script":   template.JS(topicJS),
	})
}

func newHTMLEvent(e *topic.Event) htmlEvent {
	t := e.Time()
	v := htmlEvent{
		ID: e.ID.String(), Topic: e.Topic, Type: e.Type,
		Time: t.Format("2006-01-02T15:04:05.000Z07:00"), Clock: t.Format("15:04:05"),
		Data: string(e.Data),
	}
	if e.Kind == topic.Binary {
		v.Data = string(topic.AppendDataURL(nil, e.Media, e.Data))
		if strings.HasPrefix(v.Data, "data:image/") {
			v.Image = template.URL(v.Data)
		}
	}
	return v
}

func (h *Handler) htmlTopics(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	list, next, err := h.listPage(r.Context(), rd)
	if err != nil {
		return h.problem(r, err)
	}
	if next != "" {
		next = h.opts.Prefix + next // also from another path that shows the list
	}
	type row struct {
		listed
		URL string
	}
	rows := make([]row, len(list))
	for i, l := range list {
		rows[i] = row{l, h.topicURL(l.Topic)}
	}
	return h.writeHTML(w, r, topicsPage, map[string]any{
		"Prefix": h.opts.Prefix, "Absolute": origin(r) + h.opts.Prefix, "Topics": rows, "Next": next, "Style": template.CSS(pageCSS),
	})
}

func (h *Handler) writeHTML(w http.ResponseWriter, r *http.Request, page *template.Template, data map[string]any) *Problem {
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		return h.problem(r, err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "same-origin")
	_, _ = w.Write(body.Bytes()) // an error means that the client is gone
	return nil
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
