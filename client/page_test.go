package client

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// pages answers each request with the next of some bodies, and notes the
// requests.
type pages struct {
	t      *testing.T
	bodies []string
	asked  []string
	times  []time.Time
}

func (p *pages) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.asked = append(p.asked, strings.TrimSpace(fmt.Sprintf("%s %s %s", q.Get("after"), q.Get("wait"), r.Header.Get("If-None-Match"))))
	p.times = append(p.times, time.Now())
	n := len(p.asked) - 1
	if n >= len(p.bodies) {
		<-r.Context().Done()
		return
	}
	switch body := p.bodies[n]; {
	case body == "down":
		refuse(w, http.StatusBadGateway, "")
	case strings.HasPrefix(body, `"`):
		w.Header().Set("ETag", body)
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

func pageOf(cursor string, rest string, events ...string) string {
	return fmt.Sprintf(`{"events":[%s],"cursor":%q%s}`, strings.Join(events, ","), cursor, rest)
}

// PROTOCOL.md §5.2: "A longpoll shows its header only with its answer: get a
// first cursor by a poll or by wait=0."
func TestLongpoll(t *testing.T) {
	p := &pages{t: t, bodies: []string{
		pageOf("e-4", ""),
		pageOf("e-6", `,"more":true`, event("e-5"), event("e-6")),
		"down",
		pageOf("e-9-12", `,"gap":{"after":"e-6"}`, event("e-9")),
		pageOf("e-9-12", ""), // at once: the server is about to stop
		pageOf("e-10", `,"end":true`, event("e-10")),
	}}
	bubble(t, p.serve, func(t *testing.T, c *Client) {
		opened := 0
		use(t, c, Longpoll)
		opts := &SubscribeOptions{Opened: func() { opened++ }}
		got, err := collect(t.Context(), c, []string{"a"}, opts, 99)
		if err != nil {
			t.Fatal(err)
		}
		wantList(t, "yielded", got, "e-5  of e-5", "e-6  of e-6", `$gap {"after":"e-6"}`, "e-9  of e-9", "e-10  of e-10", `e-10 $end {"topic":"a"}`)
		wantList(t, "asked for", p.asked, "now 0", "e-4 25", "e-6 25", "e-6 0", "e-9-12 25", "e-9-12 25")
		if opened != 2 {
			t.Errorf("opened %d times, want 2: one failure", opened)
		}
		if pause := p.times[5].Sub(p.times[4]); pause != time.Second {
			t.Errorf("asked again %v after an early answer", pause)
		}
	})
}

// PROTOCOL.md §5.7: "If-None-Match ... gives 304 when nothing of this request's
// topics, event or end, lies after that cursor."
func TestPoll(t *testing.T) {
	p := &pages{t: t, bodies: []string{
		pageOf("e-4", ""),
		`"e-5"`,
		pageOf("e-6", `,"more":true`, event("e-6")),
		pageOf("e-7", "", event("e-7")),
		pageOf("e-8", `,"end":true`),
	}}
	bubble(t, p.serve, func(t *testing.T, c *Client) {
		use(t, c, Poll)
		c.opts.PollInterval = 3 * time.Second
		got, err := collect(t.Context(), c, []string{"a"}, nil, 99)
		if err != nil {
			t.Fatal(err)
		}
		wantList(t, "yielded", got, "e-6  of e-6", "e-7  of e-7", `e-8 $end {"topic":"a"}`)
		wantList(t, "asked for", p.asked, "now", `e-4  "e-4"`, `e-5  "e-5"`, `e-6  "e-6"`, `e-7  "e-7"`)
		for i, want := range []time.Duration{3, 3, 0, 3} {
			if pause := p.times[i+1].Sub(p.times[i]); pause != want*time.Second {
				t.Errorf("pause %d: %v, want %d s", i, pause, want)
			}
		}
	})
}
