package view

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// PROTOCOL.md §5.12
func TestTopics(t *testing.T) {
	h := openHandler(t, nil, nil)
	if got := ask(h, "GET", "/topics", "").Body.String(); got != `{"topics":[],"more":false}` {
		t.Errorf("none: %s", got)
	}
	ask(h, "POST", "/topics/orders/us/7?end", "12345")
	ask(h, "POST", "/topics/orders/eu/42", "hello")
	ask(h, "POST", "/topics/orders/eu/42", "{\"total\":12}")
	ask(h, "DELETE", "/topics/never", "")
	eu := published(t, h, "orders/eu/42")
	us := published(t, h, "orders/us/7")
	pattern, err := topic.ParsePattern("orders/eu/42")
	if err != nil {
		t.Fatal(err)
	}
	sub := h.hub.Subscribe(deaf{}, topic.SubscribeOptions{}, topic.Selection{Patterns: []topic.Pattern{pattern}, Start: h.hub.Now()})
	defer sub.Close()

	w := ask(h, "GET", "/topics?limit=3", "")
	want := `{"topics":[` +
		`{"topic":"never","events":0,"bytes":0,"subscribers":0,"rate":R,"ended":true},` +
		`{"topic":"orders/eu/42","newest":"` + eu[1].ID.String() + `","events":2,"bytes":17,"subscribers":1,"rate":R},` +
		`{"topic":"orders/us/7","newest":"` + us[1].ID.String() + `","events":1,"bytes":5,"subscribers":0,"rate":R,"ended":true}` +
		`],"more":false}`
	// The rate is of the real time that the test takes.
	got := regexp.MustCompile(`"rate":(0|0\.[12])([,}])`).ReplaceAllString(w.Body.String(), `"rate":R$2`)
	if w.Code != 200 || got != want {
		t.Errorf("got %d %s, want %s", w.Code, got, want)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

type deaf struct{}

func (deaf) Send(topic.Batch) bool { return true }

// list asks for one page of topics.
func list(t *testing.T, h *Handler, query string) (names []string, more bool, next string) {
	t.Helper()
	w := ask(h, "GET", "/topics"+query, "")
	var answer struct {
		Topics []struct{ Topic string }
		More   bool
		Next   string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v: %s", query, err, w.Body)
	}
	for _, l := range answer.Topics {
		names = append(names, l.Topic)
	}
	return names, answer.More, answer.Next
}

// "?from=NAME lists what follows that name; it need not exist. next, only when
// more is true, is the query of the next request, percent-encoded where
// needed."
func TestTopicsInPages(t *testing.T) {
	h := openHandler(t, nil, nil)
	all := []string{"B", "a", "a b&c=d", "a/b", "a/b?#%", "café", "z+"}
	for _, name := range all {
		if w := ask(h, "POST", "/topics/"+strings.ReplaceAll(url.PathEscape(name), "%2F", "/"), "x"); w.Code != 201 {
			t.Fatalf("%s: %s", name, w.Body)
		}
	}
	var got []string
	query := "?limit=2&as=poll"
	for range all {
		names, more, next := list(t, h, query)
		got = append(got, names...)
		if more != (next != "") || more && len(names) != 2 {
			t.Errorf("%s: %q, more %v, next %q", query, names, more, next)
		}
		if query = next; !more {
			break
		}
	}
	if strings.Join(got, "|") != strings.Join(all, "|") {
		t.Errorf("got %q, want %q", got, all)
	}
	if _, _, next := list(t, h, "?limit=4"); next != "?from=a/b&limit=4" {
		t.Errorf("next: %s", next)
	}
	if _, _, next := list(t, h, "?limit=3&from=B"); next != "?from=a/b&limit=3" {
		t.Errorf("next after from: %s", next)
	}
	if names, _, _ := list(t, h, "?from=c"); strings.Join(names, "|") != "café|z+" {
		t.Errorf("from a name that is not there: %q", names)
	}
	if names, more, _ := list(t, h, "?limit=7"); len(names) != 7 || more {
		t.Errorf("a full page: %d, more %v", len(names), more)
	}
}

func TestTopicsProblems(t *testing.T) {
	h := openHandler(t, nil, nil)
	for query, want := range map[string]string{
		"?limit=x": "bad-parameter", "?as=sse": "not-acceptable", "?as=longpoll": "not-acceptable", "?as=x": "bad-parameter", "?wait=5": "OK",
	} {
		if got := outcome(t, ask(h, "GET", "/topics"+query, "")); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	if got := outcome(t, ask(h, "GET", "/topics", "", "Accept: text/event-stream")); got != "not-acceptable" {
		t.Errorf("an event stream: %s", got)
	}
}

// A log that is closed belongs to a server that stops.
func TestTopicsOfClosedLog(t *testing.T) {
	h := openHandler(t, nil, nil)
	h.hub.Log().Close()
	if got := outcome(t, ask(h, "GET", "/topics", "")); got != "shutting-down" {
		t.Errorf("got %s", got)
	}
}

// "lists the topics that have events or have ended, [...] system topics left
// out", also if a log knows more.
func TestTopicsLeavesOut(t *testing.T) {
	log := listLog{Log: memlog.Open(nil)}
	h := openOn(t, log, nil)
	names, more, next := list(t, h, "?limit=2")
	if strings.Join(names, " ") != "b e" || !more || next != "?from=e&limit=2" {
		t.Errorf("got %q, more %v, next %q", names, more, next)
	}
	if names, more, _ := list(t, h, next); strings.Join(names, " ") != "f" || more {
		t.Errorf("then %q, more %v", names, more)
	}
}

// listLog knows some topics.
type listLog struct{ topic.Log }

func (listLog) Topics(_ context.Context, from string, limit int) (list []topic.Info, err error) {
	for _, info := range []topic.Info{
		{Topic: "$sys", Events: 1}, {Topic: "a/$x", Events: 1}, {Topic: "b", Events: 1}, {Topic: "c"}, {Topic: "d"}, {Topic: "e", Ended: true}, {Topic: "f", Events: 1},
	} {
		if info.Topic > from && len(list) < limit {
			list = append(list, info)
		}
	}
	return list, nil
}
