package view

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

const (
	ndjson    = "Content-Type: application/x-ndjson"
	jsonArray = "Content-Type: application/json"
)

// PROTOCOL.md §7.3
func TestBatch(t *testing.T) {
	tests := []struct{ name, query, contentType, body string }{
		{"lines", "", ndjson, "{\"event\":\"paid\",\"data\":{\"total\":12}}\n{\"data\":\"hi\"}\n"},
		{"without a type", "", "X: y", "{\"event\":\"paid\",\"data\":{\"total\":12}}\n{\"data\":\"hi\"}"},
		// "empty lines ignored"
		{"empty lines", "", ndjson, "\n \t\r\n{\"event\":\"paid\",\"data\":{\"total\":12}}\r\n\r\n  {\"data\":\"hi\"}  \n\n"},
		{"parameters", "", "Content-Type: Application/X-NDJSON; charset=utf-8", "{\"event\":\"paid\",\"data\":{\"total\":12}}\n{\"data\":\"hi\"}"},
		// "application/json: an array of the same objects"
		{"array", "", jsonArray, " [ {\"data\":{\"total\":12},\n\"event\":\"paid\"} , {\"data\":\"hi\"} ] \n"},
		// "event left out is the URL's ?event=, else message"
		{"event of the URL", "&event=paid", ndjson, "{\"data\":{\"total\":12}}\n{\"data\":\"hi\",\"event\":\"\"}"},
		// "Other members are ignored."
		{"others", "", ndjson, "{\"id\":5,\"event\":\"paid\",\"data\":{\"total\":12},\"x\":[]}\n{\"data\":\"hi\",\"event\":\"message\"}"},
	}
	for _, test := range tests {
		h := openHandler(t, nil, nil)
		w := ask(h, "POST", "/topics/a/b?batch"+test.query, test.body, test.contentType)
		events := published(t, h, "a/b")
		if w.Code != 201 || len(events) != 2 {
			t.Errorf("%s: %d %s, %d events", test.name, w.Code, w.Body, len(events))
			continue
		}
		// "ids has their order", "contiguous"
		if want := `{"ids":["` + events[0].ID.String() + `","` + events[1].ID.String() + `"]}`; w.Body.String() != want || events[1].ID.Seq != events[0].ID.Seq+1 {
			t.Errorf("%s: got %s, want %s", test.name, w.Body, want)
		}
		// "A string in data is published as text/plain, anything else as
		// application/json."
		if e := events[0]; e.Type != "paid" || e.Media != "application/json" || string(e.Data) != `{"total":12}` {
			t.Errorf("%s: first is %+v", test.name, &e.Event)
		}
		if e := events[1]; e.Type != "" || e.Media != "text/plain" || string(e.Data) != "hi" || e.Kind != topic.Text {
			t.Errorf("%s: second is %+v", test.name, &e.Event)
		}
	}
}

// "All or nothing: any fault refuses the whole batch, and the problem's detail
// names the line."
func TestBatchProblems(t *testing.T) {
	const good = `{"data":1}`
	many := strings.Repeat(good+"\n", 1001)
	tests := []struct{ contentType, body, want, place string }{
		{ndjson, good + "\n\n{\"data\":}", "bad-json", "line 3: "},
		{ndjson, good + "\n[]", "bad-json", "line 2: "},
		{ndjson, good + good, "bad-json", "line 1: "},
		{ndjson, "{\"data\":\n1}", "bad-json", "line 1: "},
		{ndjson, good + "\n{\"data\":\"\xff\"}", "bad-json", "line 2: "},
		{ndjson, `{"data":"\ud800"}`, "bad-json", "line 1: "},
		{ndjson, `{"data":1,"data":2}`, "bad-json", "line 1: "},
		{ndjson, good + "\n" + `{"event":"x"}`, "missing-data", "line 2: "},
		{ndjson, `{}`, "missing-data", "line 1: "},
		{ndjson, good + "\n" + `{"data":1,"event":"$end"}`, "bad-event-type", "line 2: "},
		{ndjson, `{"data":1,"event":5}`, "bad-parameter", "line 1: "},
		{ndjson, good + "\n" + `{"data":"12345678901"}`, "too-big", "line 2: "},
		{ndjson, many, "too-big", "line 1001: "},
		{jsonArray, "[" + strings.Replace(strings.TrimSuffix(many, "\n"), "\n", ",", -1) + "]", "too-big", "event 1001: "},
		{jsonArray, "[" + good + ",{}]", "missing-data", "event 2: "},
		{jsonArray, "[" + good + ",]", "bad-json", "event 2: "},
		{jsonArray, "[" + good + " " + good + "]", "bad-json", "event 2: "},
		{jsonArray, "[" + good, "bad-json", "event 2: "},
		{jsonArray, "[" + good + "}", "bad-json", "event 2: "},
		{jsonArray, "[" + good + "] 1", "bad-json", "event 2: "},
		{jsonArray, "[1]", "bad-json", "event 1: "},
		{jsonArray, good, "bad-json", "event 1: "},
		{jsonArray, "", "bad-json", "event 1: "},
		// "a batch without events, is 400 missing-data"
		{ndjson, "", "missing-data", ""},
		{ndjson, "\n \n", "missing-data", ""},
		{jsonArray, "[]", "missing-data", ""},
		// "Another type is 415"
		{"Content-Type: text/plain", good, "unsupported-media-type", ""},
		{"Content-Type: application/json-seq", good, "unsupported-media-type", ""},
		{ndjson, good + "\n" + strings.Repeat(" ", 20_000), "too-big", ""},
	}
	h := openHandler(t, &Options{MaxEventBytes: 10, MaxBodyBytes: 20_000}, nil)
	for _, test := range tests {
		w := ask(h, "POST", "/topics/a?batch", test.body, test.contentType)
		body := test.body[:min(len(test.body), 50)]
		if got := outcome(t, w); got != test.want {
			t.Errorf("%s %q: got %s, want %s", test.contentType, body, got, test.want)
		} else if got := detail(t, w); !strings.HasPrefix(got, test.place) {
			t.Errorf("%s %q: detail %q, want %q...", test.contentType, body, got, test.place)
		}
	}
	if events := published(t, h, "**"); len(events) != 0 {
		t.Errorf("refused, but %d events", len(events))
	}
	if w := ask(h, "POST", "/topics/a?batch", strings.Repeat(good+"\n", 1000)); w.Code != 201 || len(published(t, h, "a")) != 1000 {
		t.Errorf("1000 events: %d, %d events", w.Code, len(published(t, h, "a")))
	}
	w := ask(h, "POST", "/topics/a?batch", good, "Content-Type: text/plain")
	if got := w.Header().Get("Accept"); got != "application/x-ndjson, application/json" { // RFC 9110 §15.5.16
		t.Errorf("Accept: %q", got)
	}
}

func detail(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	return p.Detail
}
