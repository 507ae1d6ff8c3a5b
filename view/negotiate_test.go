package view

import (
	"slices"
	"testing"
	"time"
)

const testMaxWait = 55 * time.Second

// The table of PROTOCOL.md §5.1 and what is said below it. want is the
// transport, or the type of the problem.
func TestNegotiate(t *testing.T) {
	tests := []struct {
		accept, prefer []string
		as, wait       string // "-" is the empty value
		want           string
		waits          time.Duration
	}{
		// One row each.
		{accept: []string{"text/event-stream"}, want: "sse"},
		{accept: []string{"application/x-ndjson"}, want: "stream"},
		{accept: []string{"application/json"}, prefer: []string{"wait=25"}, want: "longpoll", waits: 25 * time.Second},
		{accept: []string{"application/json"}, wait: "25s", want: "longpoll", waits: 25 * time.Second},
		{accept: []string{"*/*"}, prefer: []string{"wait=25"}, want: "longpoll", waits: 25 * time.Second},
		{accept: []string{"application/json"}, want: "poll"},
		{accept: []string{"*/*"}, want: "poll"},
		{accept: []string{"text/html"}, want: "html"},
		{accept: []string{"multipart/x-mixed-replace"}, want: "multipart"},
		{accept: []string{"multipart/mixed, multipart/x-mixed-replace;q=0.5"}, want: "mixed"},
		{accept: []string{"multipart/mixed, multipart/x-mixed-replace"}, want: "multipart"},

		// "No Accept is */*."
		{want: "poll"},
		{accept: []string{""}, want: "poll"},
		{accept: []string{" , ,"}, want: "poll"},
		{prefer: []string{"wait=5"}, want: "longpoll", waits: 5 * time.Second},

		// "for equal q-values the higher row wins"
		{accept: []string{"text/html, application/json, application/x-ndjson, text/event-stream"}, want: "sse"},
		{accept: []string{"text/html, application/json, application/x-ndjson"}, want: "stream"},
		{accept: []string{"text/html, application/json"}, want: "poll"},
		{accept: []string{"text/html", "application/json"}, wait: "1", want: "longpoll", waits: time.Second},
		{accept: []string{"text/html;q=0.8, application/json;q=0.800"}, want: "poll"},
		// and else the greater q
		{accept: []string{"text/event-stream;q=0.1, text/html;q=0.2"}, want: "html"},
		{accept: []string{"text/event-stream;q=0.9, application/json"}, want: "poll"},
		{accept: []string{"text/event-stream;q=0.009, application/json;q=0.01"}, want: "poll"},
		{accept: []string{"application/json;q=0.5", "application/x-ndjson;q=0.6"}, want: "stream"},

		// "Each offered type has the q-value of the most specific range that
		// matches it", whatever their order.
		{accept: []string{"*/*, application/json;q=0.1, text/html;q=0.2"}, want: "html"},
		{accept: []string{"application/json;q=0.1, */*, text/html;q=0.2"}, want: "html"},
		{accept: []string{"application/*;q=0.1, */*, text/html;q=0.2"}, want: "html"},
		{accept: []string{"application/*;q=0, application/json;q=0.1"}, want: "poll"},
		{accept: []string{"application/json;q=0, */*"}, want: "not-acceptable"},
		{accept: []string{"application/*;q=0, */*"}, want: "not-acceptable"},
		{accept: []string{"text/html;q=0, text/*"}, want: "not-acceptable"},
		{accept: []string{"text/*;q=0, */*"}, want: "poll"},
		{accept: []string{"*/*;q=0, text/html"}, want: "html"},
		{accept: []string{"*/*;q=0"}, want: "not-acceptable"},
		{accept: []string{"text/event-stream;q=0, text/*"}, want: "html"},
		{accept: []string{"text/event-stream;q=0"}, want: "not-acceptable"},
		{accept: []string{"text/event-stream;q=0.0, application/json;q=0.000"}, want: "not-acceptable"},

		// "*/* and application/* stand for application/json, text/* for
		// text/html": wildcards choose no stream.
		{accept: []string{"application/*"}, want: "poll"},
		{accept: []string{"application/*"}, wait: "2", want: "longpoll", waits: 2 * time.Second},
		{accept: []string{"text/*"}, want: "html"},
		{accept: []string{"text/*, */*"}, want: "poll"},
		{accept: []string{"text/*, */*;q=0.9"}, want: "html"},
		{accept: []string{"text/event-stream;q=0.5, */*"}, want: "poll"},
		{accept: []string{"text/event-stream, */*"}, want: "sse"},

		// What clients send.
		{accept: []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}, want: "html"}, // Firefox
		{accept: []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, wait: "5", want: "html"},            // waiting is for longpolls
		{accept: []string{"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}, want: "html"},                                  // Java
		{accept: []string{"application/json, text/plain, */*"}, want: "poll"},                                                     // axios
		{accept: []string{"text/event-stream, application/json;q=0.9, */*;q=0.1"}, prefer: []string{"wait=25"}, want: "sse"},
		{accept: []string{"image/*, */*;q=0.001"}, want: "poll"},

		// Letters in any case, white space, parameters, quoted commas.
		{accept: []string{"TEXT/Event-Stream"}, want: "sse"},
		{accept: []string{"\ttext/html ;\tQ=0.5 , application/x-ndjson ; q=0.6"}, want: "stream"},
		{accept: []string{"text/event-stream;charset=utf-8"}, want: "sse"},
		{accept: []string{`text/event-stream;x="a,b;q=0";q=0.5, text/html;q=0.4`}, want: "sse"},
		{accept: []string{`text/event-stream;x="\",text/html;q=0.4`}, want: "sse"},
		{accept: []string{"text/event-stream;q=0.4;q=1, text/html;q=0.5"}, want: "html"},

		// Malformed elements are ignored.
		{accept: []string{"text/event-stream;q=x, text/html"}, want: "html"},
		{accept: []string{"text/event-stream;q=, text/html"}, want: "html"},
		{accept: []string{"text/event-stream;q=1.001, text/html"}, want: "html"},
		{accept: []string{"text/event-stream;q=2, text/html"}, want: "html"},
		{accept: []string{"text/event-stream;q=-1, text/html"}, want: "html"},
		{accept: []string{"text/event-stream;q=., text/html"}, want: "html"},
		{accept: []string{"text/event-stream;q=0.0009, text/html;q=0.001"}, want: "html"},
		{accept: []string{"*"}, want: "not-acceptable"},
		{accept: []string{"*/html"}, want: "not-acceptable"},
		{accept: []string{"/"}, want: "not-acceptable"},
		{accept: []string{";q=1"}, want: "not-acceptable"},
		{accept: []string{"image/png"}, want: "not-acceptable"},
		{accept: []string{"text/plain"}, want: "not-acceptable"},
		{accept: []string{"text"}, want: "not-acceptable"},

		// "?as= says the same and wins over Accept"
		{as: "sse", accept: []string{"text/html"}, want: "sse"},
		{as: "stream", accept: []string{"image/png"}, want: "stream"},
		{as: "poll", wait: "25", want: "poll"},
		{as: "html", prefer: []string{"wait=9"}, want: "html"},
		{as: "websocket", want: "websocket"},
		{as: "longpoll", wait: "7", want: "longpoll", waits: 7 * time.Second},
		{as: "longpoll", prefer: []string{"wait=8"}, want: "longpoll", waits: 8 * time.Second},
		// "as=longpoll without a time waits --max-wait"
		{as: "longpoll", want: "longpoll", waits: testMaxWait},
		{as: "longpoll", prefer: []string{"wait=x"}, want: "longpoll", waits: testMaxWait},
		{as: "SSE", want: "bad-parameter"},
		{as: "webtransport", want: "bad-parameter"},
		{as: "-", want: "bad-parameter"},

		// "wait=25 and wait=25s are the same: whole seconds, not negative,
		// clamped to --max-wait."
		{wait: "25", want: "longpoll", waits: 25 * time.Second},
		{wait: "025", want: "longpoll", waits: 25 * time.Second},
		{wait: "0", want: "longpoll"},
		{wait: "0s", want: "longpoll"},
		{wait: "55", want: "longpoll", waits: testMaxWait},
		{wait: "56", want: "longpoll", waits: testMaxWait},
		{wait: "99999999999999999999999999", want: "longpoll", waits: testMaxWait},
		{prefer: []string{"wait=99999999999999999999999999"}, want: "longpoll", waits: testMaxWait},
		// "It wins over Prefer"
		{wait: "3", prefer: []string{"wait=25"}, want: "longpoll", waits: 3 * time.Second},
		{wait: "-", want: "bad-parameter"},
		{wait: "s", want: "bad-parameter"},
		{wait: "-1", want: "bad-parameter"},
		{wait: "+1", want: "bad-parameter"},
		{wait: "1.5", want: "bad-parameter"},
		{wait: "1ss", want: "bad-parameter"},
		{wait: "1m", want: "bad-parameter"},
		{wait: "1 ", want: "bad-parameter"},
		{wait: "x", prefer: []string{"wait=25"}, want: "bad-parameter"},
		{wait: "x", as: "sse", want: "bad-parameter"}, // also where it would be ignored

		// RFC 7240 §2: parameters, quoted values, several fields and
		// elements, names in any case; the first of a kind counts.
		{prefer: []string{`wait="25"`}, want: "longpoll", waits: 25 * time.Second},
		{prefer: []string{"Wait = 25 ; x=y"}, want: "longpoll", waits: 25 * time.Second},
		{prefer: []string{"respond-async, wait=25"}, want: "longpoll", waits: 25 * time.Second},
		{prefer: []string{"respond-async", "handling=lenient;wait=9", "wait=25, wait=1"}, want: "longpoll", waits: 25 * time.Second},
		{prefer: []string{`x="a, wait=9", wait=25`}, want: "longpoll", waits: 25 * time.Second},
		{prefer: []string{"x=y;wait=25"}, want: "poll"},
		{prefer: []string{"waits=25"}, want: "poll"},
		// "A Prefer that does not parse is ignored"
		{prefer: []string{"wait"}, want: "poll"},
		{prefer: []string{"wait="}, want: "poll"},
		{prefer: []string{`wait=""`}, want: "poll"},
		{prefer: []string{`wait="`}, want: "poll"},
		{prefer: []string{"wait=x, wait=25"}, want: "poll"},
		{prefer: []string{"wait=-1"}, want: "poll"},
		{prefer: []string{"wait=25s"}, want: "poll"},
	}
	for _, test := range tests {
		got, wait, problem := negotiate(wishOf(test.as, test.wait, test.accept, test.prefer), topicOffers, testMaxWait)
		if problem != nil {
			got = transport(problem.Type)
		}
		if string(got) != test.want || wait != test.waits {
			t.Errorf("as %q wait %q Accept %q Prefer %q: got %s %v, want %s %v",
				test.as, test.wait, test.accept, test.prefer, got, wait, test.want, test.waits)
		}
	}
}

// wishOf takes "" for an absent value and "-" for an empty one.
func wishOf(as, wait string, accept, prefer []string) wish {
	w := wish{as: as, wait: wait, hasAs: as != "", hasWait: wait != "", accept: accept, prefer: prefer}
	if as == "-" {
		w.as = ""
	}
	if wait == "-" {
		w.wait = ""
	}
	return w
}

func TestNegotiateList(t *testing.T) {
	tests := []struct{ as, wait, accept, want string }{
		{want: "poll"},
		{wait: "5", want: "poll"}, // it does not wait
		{accept: "application/json", want: "poll"},
		{accept: "text/html,application/xhtml+xml,*/*;q=0.8", want: "html"},
		{as: "poll", want: "poll"},
		{as: "html", want: "html"},
		{accept: "text/event-stream", want: "not-acceptable"},
		{accept: "application/x-ndjson", want: "not-acceptable"},
		{as: "sse", want: "not-acceptable"},
		{as: "stream", want: "not-acceptable"},
		{as: "longpoll", want: "not-acceptable"},
		{as: "websocket", want: "not-acceptable"},
		{as: "x", want: "bad-parameter"},
	}
	for _, test := range tests {
		var accept []string
		if test.accept != "" {
			accept = []string{test.accept}
		}
		got, _, problem := negotiate(wishOf(test.as, test.wait, accept, nil), listOffers, testMaxWait)
		if problem != nil {
			got = transport(problem.Type)
		}
		if string(got) != test.want {
			t.Errorf("as %q Accept %q: got %s, want %s", test.as, test.accept, got, test.want)
		}
	}
}

// "Nothing left to offer is 406 not-acceptable; its problem lists the media
// types in offered."
func TestNotAcceptableListsOffers(t *testing.T) {
	_, _, problem := negotiate(wish{accept: []string{"image/png"}}, topicOffers, testMaxWait)
	want := []string{"text/event-stream", "application/x-ndjson", "application/json", "text/html", "multipart/x-mixed-replace", "multipart/mixed"}
	if problem == nil || problem.Status != 406 || !slices.Equal(problem.Offered, want) {
		t.Errorf("got %+v, want 406 with %q", problem, want)
	}
}

func TestWantsWebSocket(t *testing.T) {
	tests := []struct {
		upgrade []string
		want    bool
	}{
		{[]string{"websocket"}, true},
		{[]string{"WebSocket"}, true}, // RFC 6455 §4.2.1: "ASCII case-insensitive"
		{[]string{"h2c, websocket"}, true},
		{[]string{"h2c", " websocket\t"}, true},
		{nil, false},
		{[]string{""}, false},
		{[]string{"h2c"}, false},
		{[]string{"websocket2"}, false},
		{[]string{"web socket"}, false},
		{[]string{`"websocket"`}, false},
	}
	for _, test := range tests {
		if got := wantsWebSocket(test.upgrade); got != test.want {
			t.Errorf("Upgrade %q: got %v", test.upgrade, got)
		}
	}
}
