package view

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// PROTOCOL.md §5.5 and §5.4, byte for byte.
func TestPoll(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		s.publishAs("orders/eu/42", "paid", "application/json", `{"total":12}`)
		s.publish("orders/eu/42", "hello")
		s.publish("orders/us", "x", "y")
		a := s.get("/topics/orders/eu/42?after=" + s.id(1))
		want := s.withIDs(`{"events":[{"id":"2","topic":"orders/eu/42","data":"hello","time":"2000-01-01T00:00:00Z"}],"cursor":"2","more":false}`)
		if got := a.all(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Cache-Control": "no-store", "ETag": `"` + s.id(2) + `"`,
			"Link": "<?after=" + s.id(2) + `>; rel="next"`, "Vary": "Accept, Prefer, Last-Event-ID, Origin",
			"X-Content-Type-Options": "nosniff", "Content-Length": fmt.Sprint(len(want)), "Preference-Applied": "",
		} {
			if got := a.Header.Get(name); a.StatusCode != 200 || got != want {
				t.Errorf("%d, %s: %q, want %q", a.StatusCode, name, got, want)
			}
		}
		event := func(seq int, name, data string) string {
			return fmt.Sprintf(`{"id":"%d","topic":"%s",%s,"time":"2000-01-01T00:00:00Z"}`, seq, name, data)
		}
		paid, hello := event(1, "orders/eu/42", `"event":"paid","data":{"total":12}`), event(2, "orders/eu/42", `"data":"hello"`)
		x, y := event(3, "orders/us", `"data":"x"`), event(4, "orders/us", `"data":"y"`)
		page := func(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]` }
		for _, test := range []struct{ path, want string }{
			{"/topics/orders/eu/42", page(paid, hello) + `,"cursor":"2","more":false}`},
			{"/topics/orders/eu/42?limit=1", page(hello) + `,"cursor":"2","more":false}`}, // "the newest page of history"
			{"/topics/orders/eu/42?limit=-5", page(hello) + `,"cursor":"2","more":false}`},
			{"/topics/orders/eu/42?after=earliest&limit=1", page(paid) + `,"cursor":"1","more":true}`},
			{"/topics/orders/eu/42?after=now", page() + `,"cursor":"4","more":false}`},
			{"/topics/orders/eu/42?after=" + s.id(2), page() + `,"cursor":"4","more":false}`},
			{"/topics/none", page() + `,"cursor":"4","more":false}`},
			{"/topics/**?limit=2", page(x, y) + `,"cursor":"4","more":false}`},
			{"/topics/*?limit=2", page() + `,"cursor":"4","more":false}`},
			{"/topics?topic=orders/us&topic=orders/eu/*&topic=**&after=" + s.id(0), page(paid, hello, x, y) + `,"cursor":"4","more":false}`},
			{"/topics?topic=orders/us&topic=orders/eu/*&limit=3&after=" + s.id(0), page(paid, hello, x) + `,"cursor":"3","more":true}`},
			{"/topics?topic=orders/us&topic=orders/eu/*&limit=4&after=" + s.id(0), page(paid, hello, x, y) + `,"cursor":"4","more":false}`},
			{"/topics/orders/us?after=k-1", page(x, y) + `,"cursor":"4","more":false,"gap":{"after":"k-1","oldest":"3"}}`},
			{"/topics/none?after=k-1", page() + `,"cursor":"4","more":false,"gap":{"after":"k-1"}}`},
		} {
			a := s.get(test.path)
			got := a.all()
			if want := s.withIDs(test.want); got != want {
				t.Errorf("%s: got %s, want %s", test.path, got, want)
			}
			var p struct{ Cursor string }
			if err := json.Unmarshal([]byte(got), &p); err != nil || a.Header.Get("ETag") != `"`+p.Cursor+`"` {
				t.Errorf("%s: ETag %s, %v", test.path, a.Header.Get("ETag"), err)
			}
		}
	})
}

// `"end":true`, only for a request for one topic: the topic has ended and the
// page reaches its end. A page of several, with a cursor, has the ends after it
// in `ends`. Ends are no events, and no limit of those counts them.
func TestPageEnd(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		s.publish("a/1", "x", "y")
		s.end("a/1")
		s.end("a/2")
		s.publish("a/3", "z")
		x, y := `{"id":"1","topic":"a/1","data":"x","time":"2000-01-01T00:00:00Z"}`, `{"id":"2","topic":"a/1","data":"y","time":"2000-01-01T00:00:00Z"}`
		end1 := `{"id":"3","event":"$end","data":{"topic":"a/1"}}`
		ends := `"ends":[` + end1 + `,{"id":"4","event":"$end","data":{"topic":"a/2"}}]`
		z := `{"id":"5","topic":"a/3","data":"z","time":"2000-01-01T00:00:00Z"}`
		for _, test := range []struct{ path, want string }{
			{"/topics/a/1", `{"events":[` + x + `,` + y + `],"cursor":"2","more":false,"end":true}`},
			{"/topics/a/1?limit=1", `{"events":[` + y + `],"cursor":"2","more":false,"end":true}`},
			{"/topics/a/1?after=" + s.id(0), `{"events":[` + x + `,` + y + `],"cursor":"2","more":false,"end":true}`},
			{"/topics/a/1?limit=1&after=" + s.id(0), `{"events":[` + x + `],"cursor":"1","more":true}`},
			{"/topics/a/1?limit=1&after=" + s.id(1), `{"events":[` + y + `],"cursor":"2","more":false,"end":true}`},
			{"/topics/a/1?limit=1&after=" + s.id(2), `{"events":[],"cursor":"5","more":false,"end":true}`},
			{"/topics/a/1?after=" + s.id(3), `{"events":[],"cursor":"5","more":false,"end":true}`},
			{"/topics/a/1?after=now", `{"events":[],"cursor":"5","more":false,"end":true}`},
			{"/topics/a/2", `{"events":[],"cursor":"5","more":false,"end":true}`},
			{"/topics?topic=a/2&topic=a/2", `{"events":[],"cursor":"5","more":false,"end":true}`},
			{"/topics/a/*?limit=1", `{"events":[` + z + `],"cursor":"5","more":false}`},
			{"/topics/a/*?limit=1&after=" + s.id(2), `{"events":[` + z + `],"cursor":"5","more":false,` + ends + `}`},
			{"/topics/a/*?limit=2&after=" + s.id(0), `{"events":[` + x + `,` + y + `],"cursor":"4","more":true,` + ends + `}`},
			{"/topics/a/*?after=" + s.id(4), `{"events":[` + z + `],"cursor":"5","more":false}`},
			{"/topics?topic=a/1&topic=a/2&limit=2&after=" + s.id(0), `{"events":[` + x + `,` + y + `],"cursor":"4","more":false,` + ends + `}`},
			{"/topics?topic=a/1&topic=a/2&after=" + s.id(2), `{"events":[],"cursor":"5","more":false,` + ends + `}`},
			{"/topics?topic=a/1&topic=a/3&after=" + s.id(2), `{"events":[` + z + `],"cursor":"5","more":false,"ends":[` + end1 + `]}`},
			{"/topics?topic=a/1&topic=a/2&wait=5&after=" + s.id(2), `{"events":[],"cursor":"5","more":false,` + ends + `}`},
		} {
			if got, want := s.get(test.path).all(), s.withIDs(test.want); got != want {
				t.Errorf("%s: got %s, want %s", test.path, got, want)
			}
		}
	})
}

// stepwise is a log that gives one entry at a time, as any may, and lets
// something happen before each.
type stepwise struct {
	topic.Log
	before func()
}

func (l *stepwise) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	l.before()
	limit.Events = 1
	return l.Log.Read(ctx, interests, limit)
}

// If retention overtakes the reading of a page, the gap lies after the page's
// events: it is told by the next one, whose cursor lies before it.
func TestPageOvertaken(t *testing.T) {
	log := &stepwise{Log: memlog.Open(&memlog.Options{RetainEvents: 3})}
	h := openOn(t, log, nil)
	reads := 0
	log.before = func() {
		if reads++; reads != 2 {
			return
		}
		for range 4 {
			ask(h, "POST", "/topics/a", "late")
		}
	}
	for range 3 {
		ask(h, "POST", "/topics/a", "early")
	}
	p := parsePage(t, ask(h, "GET", "/topics/a?after="+h.id(0), ""))
	if len(p.Events) != 1 || p.Events[0].ID != h.id(1) || p.Cursor != h.id(1) || p.Gap != nil || !p.More {
		t.Errorf("got %+v", p)
	}
	p = parsePage(t, ask(h, "GET", "/topics/a?after="+p.Cursor, ""))
	if len(p.Events) != 3 || p.Events[0].ID != h.id(5) || p.Gap == nil || p.Gap.Oldest != h.id(5) || p.More {
		t.Errorf("then %+v", p)
	}
}

// A page has a limit of bytes, too, which no client can do anything about:
// `more` says that it goes on.
func TestPageBytes(t *testing.T) {
	h := openHandler(t, &Options{MaxEventBytes: 16 << 20}, nil)
	for i, size := range []int{pageBytes * 5 / 8, pageBytes * 3 / 8, 1, pageBytes + 1<<17, 2} {
		if w := ask(h, "POST", "/topics/a", strings.Repeat(fmt.Sprint(i), size)); w.Code != 201 {
			t.Fatal(w.Code)
		}
	}
	lengths := func(query string) (n []int, p parsedPage) {
		p = parsePage(t, ask(h, "GET", "/topics/a"+query, ""))
		for _, e := range p.Events {
			n = append(n, len(e.Data))
		}
		return n, p
	}
	if got, _ := lengths(""); !slices.Equal(got, []int{2}) {
		t.Errorf("newest: %d", got)
	}
	after := "earliest"
	for i, want := range [][]int{{pageBytes * 5 / 8, pageBytes * 3 / 8}, {1}, {pageBytes + 1<<17}, {2}} {
		got, p := lengths("?after=" + after)
		if !slices.Equal(got, want) || p.More != (i < 3) {
			t.Errorf("page %d: %d, more %v, want %d", i, got, p.More, want)
		}
		after = p.Cursor
	}
}

type parsedPage struct {
	Events []struct{ ID, Topic, Data string }
	Cursor string
	More   bool
	Gap    *struct{ After, Oldest string }
	End    bool
}

func parsePage(t testing.TB, w *httptest.ResponseRecorder) (p parsedPage) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return p
}

// PROTOCOL.md §5.7: "Link: <?after=CURSOR>; rel="next", which repeats the
// request's other query parameters"; following it reads everything.
func TestLink(t *testing.T) {
	h := openHandler(t, nil, nil)
	var want []string
	for i := range 10 {
		name := []string{"a b/é", "c&d=e", "x>y\"<"}[i%3]
		want = append(want, fmt.Sprint(i))
		ask(h, "POST", "/topics/"+url.PathEscape(strings.Split(name, "/")[0])+strings.TrimPrefix(name, strings.Split(name, "/")[0]), fmt.Sprint(i))
	}
	link := "?" + url.Values{"topic": {"a b/é", "c&d=e", "x>y\"<"}, "after": {"earliest"}, "limit": {"3"}, "unknown": {"", "2\r\n"}, "wait": {"0"}}.Encode()
	var got []string
	for more := true; more; {
		w := ask(h, "GET", "/topics"+link, "")
		p := parsePage(t, w)
		for _, e := range p.Events {
			got = append(got, e.Data)
		}
		more = p.More
		target, ok := strings.CutSuffix(strings.TrimPrefix(w.Header().Get("Link"), "<"), `>; rel="next"`)
		query, err := url.ParseQuery(strings.TrimPrefix(target, "?"))
		if !ok || err != nil || strings.ContainsAny(target, "<>\"\r\n ") {
			t.Fatalf("Link: %q, %v", w.Header().Get("Link"), err)
		}
		old, _ := url.ParseQuery(link[1:])
		if old.Set("after", p.Cursor); fmt.Sprint(old) != fmt.Sprint(query) {
			t.Fatalf("Link has %v, want %v", query, old)
		}
		link = target
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, method := range []string{"POST", "QUERY", "HEAD"} {
		w := ask(h, method, "/topics?topic=**", "")
		if link := w.Header().Get("Link"); w.Code != 200 || link != "" || w.Header().Get("ETag") == "" {
			t.Errorf("%s: %d, Link: %q, ETag: %q", method, w.Code, link, w.Header().Get("ETag"))
		}
	}
}

// PROTOCOL.md §5.8: "a page of history, asked for by GET with ?after=CURSOR and
// without Last-Event-ID, that has "more":true and no gap".
func TestPageCaching(t *testing.T) {
	h := openHandler(t, nil, &memlog.Options{RetainEvents: 3})
	for range 4 {
		ask(h, "POST", "/topics/a", "x")
		ask(h, "POST", "/topics/b", "x")
	}
	const kept = "private, max-age=60"
	for _, test := range []struct{ method, query, field, want string }{
		{"GET", "limit=2&after=" + h.id(2), "", kept},
		{"GET", "limit=2&wait=5&after=" + h.id(2), "", kept},
		{"GET", "limit=3&after=" + h.id(2), "", "no-store"}, // all there is
		{"GET", "limit=2&after=" + h.id(2), "Last-Event-ID: " + h.id(2), "no-store"},
		{"GET", "limit=2&after=earliest", "", "no-store"},
		{"GET", "limit=2&after=" + h.id(0), "", "no-store"}, // a gap
		{"GET", "limit=2", "", "no-store"},
		{"QUERY", "limit=2&after=" + h.id(2), "", "no-store"},
		{"POST", "limit=2&after=" + h.id(2), "", "no-store"},
		{"HEAD", "limit=2&after=" + h.id(2), "", "no-store"},
	} {
		fields := []string{}
		if test.field != "" {
			fields = append(fields, test.field)
		}
		w := ask(h, test.method, "/topics?topic=a&"+test.query, "", fields...)
		if got := w.Header().Values("Cache-Control"); w.Code != 200 || !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s %s %s: %d, %q, want %q", test.method, test.query, test.field, w.Code, got, test.want)
		}
	}
	// RFC 9110 §15.4.5: a 304 has the fields "that would have been sent in a 200".
	w := ask(h, "GET", "/topics/a?limit=2&after="+h.id(2), "", `If-None-Match: "`+h.id(8)+`"`)
	if got := w.Header().Get("Cache-Control"); w.Code != 304 || got != kept || w.Header().Get("ETag") != `"`+h.id(5)+`"` {
		t.Errorf("304: %d %q %v", w.Code, got, w.Header())
	}
}

// PROTOCOL.md §5.7
func TestConditional(t *testing.T) {
	h := openHandler(t, nil, &memlog.Options{RetainEvents: 3})
	for i := range 5 { // a: 1, 3, 5, 7, 9, of which 5, 7 and 9 are left
		ask(h, "POST", "/topics/a", fmt.Sprint(i))
		ask(h, "POST", "/topics/b/"+fmt.Sprint(i), "other")
	}
	ask(h, "DELETE", "/topics/c", "") // 11
	ask(h, "POST", "/topics/b/9", "other")
	tag := func(seq int) string { return `"` + h.id(seq) + `"` }
	tests := []struct {
		method, path, tags string
		code               int
	}{
		{"GET", "/topics/a", tag(9), 304},
		{"GET", "/topics/a", tag(10), 304}, // "an older tag is still good if only other topics moved"
		{"GET", "/topics/a", tag(12), 304},
		{"GET", "/topics/a", tag(8), 200},
		{"GET", "/topics/a", tag(13), 200}, // beyond the end: a gap
		{"GET", "/topics/a", tag(2), 200},  // a gap
		{"GET", "/topics/a", `"x-9"`, 200},
		{"GET", "/topics/a", "W/" + tag(9), 304},                     // weak comparison (RFC 9110 §13.1.2)
		{"GET", "/topics/a", `"x", W/"y" ,` + tag(9) + `,"z"`, 304},  // a list
		{"GET", "/topics/a", `"x", W/"y" ,` + tag(7) + `,"z"`, 200},  //
		{"GET", "/topics/a", `"x,` + strings.Trim(tag(9), `"`), 200}, // not a tag
		{"GET", "/topics/a", strings.Trim(tag(9), `"`), 200},         // not a tag either
		{"GET", "/topics/a", "", 200},                                //
		{"GET", "/topics/a?after=" + h.id(5), tag(9), 304},           // "does not say where the page begins"
		{"GET", "/topics/a?after=" + h.id(5), tag(5), 200},           //
		{"GET", "/topics/a?after=" + h.id(2), tag(9), 200},           // "whose own cursor has a gap"
		{"GET", "/topics/a?after=x", tag(9), 200},                    //
		{"GET", "/topics/a?wait=0", tag(9), 200},                     // a longpoll ignores it
		{"GET", "/topics/a?as=longpoll&wait=0", tag(9), 200},         //
		{"GET", "/topics/b/*", tag(12), 304},                         //
		{"GET", "/topics/b/*", tag(11), 200},                         //
		{"GET", "/topics?topic=a&topic=c", tag(11), 304},             // "event or end"
		{"GET", "/topics?topic=a&topic=c", tag(10), 200},             //
		{"GET", "/topics/**", tag(12), 304},                          //
		{"GET", "/topics/none", tag(12), 304},                        //
		{"GET", "/topics/none", tag(0), 304},                         //
		{"QUERY", "/topics?topic=a", tag(9), 304},                    // "ignored on POST" (§5.13)
		{"POST", "/topics?topic=a", tag(9), 200},                     //
		{"HEAD", "/topics/a", tag(9), 304},                           //
		{"HEAD", "/topics/a", tag(10), 304},                          //
		{"HEAD", "/topics/a", tag(8), 200},                           //
		{"HEAD", "/topics/a?after=" + h.id(2), tag(9), 200},          // its own cursor has a gap
		{"HEAD", "/topics/a?after=" + h.id(9), tag(9), 304},          //
		{"HEAD", "/topics/none", tag(12), 304},                       //
		{"HEAD", "/topics", tag(12), 304},                            // the end of the log
		{"HEAD", "/topics", tag(11), 200},                            //
		{"HEAD", "/topics/a?as=sse", tag(9), 304},                    // "whatever Accept says"
	}
	for _, test := range tests {
		fields := []string{}
		if test.tags != "" {
			fields = append(fields, "If-None-Match: "+test.tags)
		}
		plain := ask(h, test.method, test.path, "")
		w := ask(h, test.method, test.path, "", fields...)
		if w.Code != test.code {
			t.Errorf("%s %s If-None-Match: %s: %d, want %d", test.method, test.path, test.tags, w.Code, test.code)
		}
		for _, name := range []string{"ETag", "Link", "Cache-Control", "Vary"} { // "that the 200 would have carried"
			if got, want := w.Header().Get(name), plain.Header().Get(name); got != want {
				t.Errorf("%s %s If-None-Match: %s: %s: %q, want %q", test.method, test.path, test.tags, name, got, want)
			}
		}
		if w.Code == 304 && w.Body.Len() > 0 {
			t.Errorf("304 with a body: %s", w.Body)
		}
		if p := plain; test.method == "GET" && parsePage(t, p).Gap == nil && w.Code == 200 && parsePage(t, w).Gap != nil {
			t.Errorf("%s %s: a gap is told for If-None-Match", test.method, test.path)
		}
	}
	// Several fields are one list (RFC 9110 §5.3).
	for others, code := range map[int]int{7: 304, 8: 200} { // "of a list, the first 8"
		if w := ask(h, "GET", "/topics/a", "", "If-None-Match: "+strings.Repeat(`"x", `, others)+tag(9)); w.Code != code {
			t.Errorf("after %d other tags: %d, want %d", others, w.Code, code)
		}
	}
	if w := ask(h, "GET", "/topics/a", "", `If-None-Match: "x"`, "If-None-Match: "+tag(9)); w.Code != 304 {
		t.Errorf("two fields: %d", w.Code)
	}
}

// However much other topics moved, the log decides.
func TestConditionalAfterManyOthers(t *testing.T) {
	h := openHandler(t, nil, nil)
	ask(h, "POST", "/topics/a/1", "x")
	drafts := make([]topic.Draft, 1000)
	for i := range drafts {
		drafts[i] = topic.Draft{Media: "text/plain"}
	}
	for range 40 {
		if _, err := h.hub.Publish(t.Context(), "b", drafts, topic.Key{}); err != nil {
			t.Fatal(err)
		}
	}
	if w := ask(h, "GET", "/topics/a/*", "", `If-None-Match: "`+h.id(1)+`"`); w.Code != 304 {
		t.Errorf("got %d", w.Code)
	}
	if p := parsePage(t, ask(h, "GET", "/topics/a/*?limit=1&after="+h.id(0), "")); p.More || len(p.Events) != 1 || p.Cursor != h.id(1) {
		t.Errorf("got %+v", p)
	}
	if p := parsePage(t, ask(h, "GET", "/topics/a/*?limit=1&after="+h.id(1), "")); p.More || p.Cursor != h.id(40_001) {
		t.Errorf("got %+v", p)
	}
}

// PROTOCOL.md §5.14
func TestHead(t *testing.T) {
	h := openHandler(t, nil, nil)
	ask(h, "POST", "/topics/a", "x")
	ask(h, "POST", "/topics/a", "y")
	ask(h, "POST", "/topics/b", "z")
	for path, want := range map[string]int{
		"/topics/a": 2, "/topics/a?after=" + h.id(1) + "&limit=1": 2, "/topics/b": 3, "/topics/*": 3, "/topics?topic=a&topic=c": 2,
		"/topics/c": 3, "/topics": 3, "/topics/a?after=nonsense": 2,
	} {
		w := ask(h, "HEAD", path, "", "Accept: image/png")
		if got := w.Header().Get("ETag"); w.Code != 200 || got != `"`+h.id(want)+`"` || w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v, want %s", path, w.Code, got, w.Header(), h.id(want))
		}
	}
}

// Pages, whatever their limits, topics and patterns, give each event of a
// naive model once and in order, and tell of a gap exactly when the model has
// lost something (PROTOCOL.md §4.5). Their cursors can always be used next.
func TestPagesEqualModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const keep = 8
	names := []string{"a", "a/b", "a/c", "b", "b/x/y", "$s/a"}
	wishes := [][]string{{"a"}, {"a/b"}, {"none"}, {"a/*"}, {"**"}, {"a", "b"}, {"a", "a/**"}, {"b/**", "a/c", "none"}, {"$s/*", "b"}}
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			h := openHandler(t, nil, &memlog.Options{RetainEvents: keep})
			type event struct {
				seq  int
				name string
			}
			var all []event // ever published
			publish := func() {
				name := names[random.IntN(len(names))]
				id, err := h.hub.Log().Append(t.Context(), name, []topic.Draft{{Media: "text/plain", Data: []byte("x")}}, topic.Key{})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, event{int(id.Seq), name})
			}
			matches := func(wish []string, name string) bool {
				return slices.ContainsFunc(wish, func(w string) bool {
					p, err := topic.ParsePattern(w)
					return err == nil && p.Match(name)
				})
			}
			// kept returns those after seq that are left, and whether any was lost.
			kept := func(wish []string, seq int) (left []int, lost bool) {
				counts := make(map[string]int)
				for _, e := range slices.Backward(all) {
					if counts[e.name]++; e.seq <= seq || !matches(wish, e.name) {
						continue
					}
					if counts[e.name] > keep {
						lost = true
						continue
					}
					left = append(left, e.seq)
				}
				slices.Reverse(left)
				return left, lost
			}
			for range 30 + random.IntN(60) {
				publish()
			}
			for range 30 {
				wish := wishes[random.IntN(len(wishes))]
				from := random.IntN(len(all) + 1)
				want, lost := kept(wish, from)
				var got []int
				cursor, gaps := h.id(from), 0
				for more := true; more; {
					limit := 1 + random.IntN(7)
					q := url.Values{"topic": wish, "after": {cursor}, "limit": {fmt.Sprint(limit)}}
					p := parsePage(t, ask(h, "GET", "/topics?"+q.Encode(), ""))
					if p.Gap != nil {
						gaps++
						if oldest := ""; len(p.Events) > 0 {
							oldest = p.Events[0].ID
							if p.Gap.After != cursor || p.Gap.Oldest != oldest {
								t.Fatalf("seed %d: %v after %s: gap %+v before %s", seed, wish, cursor, p.Gap, oldest)
							}
						}
					}
					for _, e := range p.Events {
						c, err := topic.ParseCursor(e.ID)
						if err != nil || !matches(wish, e.Topic) {
							t.Fatalf("seed %d: %v gives %+v, %v", seed, wish, e, err)
						}
						got = append(got, int(c.Seq))
					}
					if len(p.Events) > limit || p.More && len(p.Events) < limit || p.More != (len(got) < len(want)) {
						t.Fatalf("seed %d: %v after %s: %d events of %d, more %v, have %v of %v", seed, wish, cursor, len(p.Events), limit, p.More, got, want)
					}
					cursor, more = p.Cursor, p.More
				}
				if !slices.Equal(got, want) || (gaps > 0) != lost || gaps > 1 {
					t.Fatalf("seed %d: %v after %d: got %v with %d gaps, want %v, lost %v", seed, wish, from, got, gaps, want, lost)
				}
				// Nothing has moved: the last cursor is at the end, and good.
				q := url.Values{"topic": wish, "after": {cursor}}
				if p := parsePage(t, ask(h, "GET", "/topics?"+q.Encode(), "")); len(p.Events) > 0 || p.Gap != nil || p.More || p.Cursor != h.id(len(all)) {
					t.Fatalf("seed %d: %v after the end %s: %+v", seed, wish, cursor, p)
				}
				if random.IntN(3) == 0 {
					publish()
				}
			}
		})
	}
}

// aheadLog cannot tell whether a cursor that lies beyond its end is good.
type aheadLog struct{ topic.Log }

func (l aheadLog) Knows(ctx context.Context, c topic.Cursor) (bool, error) {
	if c.Seq > l.End().Seq {
		return false, topic.ErrUnavailable
	}
	return l.Log.Knows(ctx, c)
}

// "503 unavailable: the log cannot be read or written now; Retry-After" (§9.2):
// a cursor of which nobody can say whether it is good has no gap.
func TestCursorUnavailable(t *testing.T) {
	log := aheadLog{memlog.Open(nil)}
	h := openOn(t, log, nil)
	ask(h, "POST", "/topics/a", "1")
	known, ahead := log.End(), log.End()
	ahead.Seq++
	for _, as := range []string{"poll", "longpoll", "sse", "stream"} {
		w := ask(h, "GET", "/topics/a?as="+as+"&after="+ahead.String(), "")
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "urn:duplex:problem:unavailable") {
			t.Errorf("%s: %d %v %s", as, w.Code, w.Header(), w.Body)
		}
	}
	if w := ask(h, "GET", "/topics/a?as=poll&after="+known.String(), ""); w.Code != 200 || parsePage(t, w).Gap != nil {
		t.Errorf("a known one: %d %s", w.Code, w.Body)
	}
}

// pieceRecorder notes the longest write.
type pieceRecorder struct {
	httptest.ResponseRecorder
	longest int
}

func (p *pieceRecorder) Write(b []byte) (int, error) {
	p.longest = max(p.longest, len(b))
	return p.ResponseRecorder.Write(b)
}

// A page is as long as it says, and never as a whole in the memory of one request.
func TestLongPage(t *testing.T) {
	const most = len(piece{})
	for _, sizes := range [][]int{
		nil, {1}, {100, 200}, {most}, {2 * most}, {1, 3 * most, 1, 4 * most, 5 * most, 2},
		{most / 2, most / 2, most / 2, 10}, slices.Repeat([]int{1000}, 200),
	} {
		p := page{cursor: topic.Cursor{ID: topic.ID{Epoch: 1, Seq: 9}}}
		var want []string
		for i, size := range sizes {
			draft := topic.Draft{Media: "text/plain", Data: []byte(strings.Repeat("x", size))}
			p.events = append(p.events, &topic.Entry{Event: topic.NewEvent(topic.ID{Epoch: 1, Seq: uint64(i + 1)}, "a", draft, time.Now())})
			want = append(want, string(draft.Data))
		}
		w := &pieceRecorder{ResponseRecorder: *httptest.NewRecorder()}
		writePage(w, httptest.NewRequest("GET", "/topics/a", nil), &reading{query: url.Values{}}, &p)
		if length := w.Header().Get("Content-Length"); length != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%v: Content-Length: %s, written %d", sizes, length, w.Body.Len())
		}
		var got []string
		for _, e := range parsePage(t, &w.ResponseRecorder).Events {
			got = append(got, e.Data)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: other events", sizes)
		}
		if w.longest > most {
			t.Errorf("%v: %d bytes in one write", sizes, w.longest)
		}
	}
}
