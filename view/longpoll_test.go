package view

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// poll sends a request that may be held, and returns a channel with its
// answer.
func (s *site) poll(path string, fields ...string) <-chan *answer {
	answers := make(chan *answer, 1)
	go func() { answers <- s.get(path, fields...) }()
	synctest.Wait()
	return answers
}

// PROTOCOL.md §5.6: "until an event comes or the time is over. Then the answer
// is 200 with a page, maybe an empty one".
func TestLongpollTime(t *testing.T) {
	bubble(t, &Options{MaxWait: 40 * time.Second}, nil, func(t *testing.T, s *site) {
		s.publish("a", "x")
		for _, test := range []struct {
			query, prefer string
			want          time.Duration
		}{
			{"wait=25", "", 25 * time.Second},
			{"wait=25s", "", 25 * time.Second},
			{"", "wait=25", 25 * time.Second},
			{"wait=3", "wait=25", 3 * time.Second}, // "It wins"
			{"wait=0", "", 0},
			{"", "wait=0", 0},
			{"wait=1000", "", 40 * time.Second}, // clamped
			{"as=longpoll", "", 40 * time.Second},
		} {
			began, end := time.Now(), s.hub.Now().Cursor.String()
			fields := []string{"Accept: application/json", `If-None-Match: "` + end + `"`} // which is ignored
			if test.prefer != "" {
				fields = append(fields, "Prefer: "+test.prefer)
			}
			answers := s.poll("/topics/a?"+test.query, fields...)
			if test.want > 0 {
				sleepUntilJustBefore(began, test.want/2)
				end = s.publish("b", "another topic's")
				sleepUntilJustBefore(began, test.want)
				select {
				case <-answers:
					t.Errorf("%+v: answered early", test)
					continue
				default:
				}
			}
			a := <-answers
			if took := time.Since(began); took != test.want {
				t.Errorf("%+v: took %v", test, took)
			}
			want := `{"events":[],"cursor":"` + end + `","more":false}` // "else the confirmed end of the log"
			if got := a.all(); a.StatusCode != 200 || got != want {
				t.Errorf("%+v: %d %s, want %s", test, a.StatusCode, got, want)
			}
			if got, want := a.Header.Get("Preference-Applied"), "wait="+strconv.Itoa(int(test.want.Seconds())); got != want {
				t.Errorf("%+v: Preference-Applied: %q, want %q", test, got, want)
			}
			if got := a.Header.Get("ETag"); got != `"`+end+`"` {
				t.Errorf("%+v: ETag: %s", test, got)
			}
		}
	})
}

// An event answers it when it comes, and so does the end of one of several
// topics; what happens to others does not.
func TestLongpollEvent(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		for _, query := range []string{"topic=a/b", "topic=a/*", "topic=x&topic=**&limit=1"} {
			began := time.Now()
			answers := s.poll("/topics?wait=25&" + query)
			time.Sleep(time.Second)
			if !strings.Contains(query, "**") {
				s.publish("a", "not of it")
				s.end("c/" + strconv.Itoa(time.Now().Second()))
			}
			time.Sleep(6 * time.Second)
			synctest.Wait()
			select {
			case a := <-answers:
				t.Fatalf("%s: answered early with %s", query, a.all())
			default:
			}
			id := s.publish("a/b", "now")
			a := <-answers
			want := `{"events":[{"id":"` + id + `","topic":"a/b","data":"now","time":"` + time.Now().UTC().Format(time.RFC3339) + `"}],"cursor":"` + id + `","more":false}`
			if got := a.all(); got != want || time.Since(began) != 7*time.Second || a.Header.Get("Preference-Applied") != "wait=25" {
				t.Errorf("%s: after %v: %s, want %s", query, time.Since(began), got, want)
			}
		}
		for _, held := range []time.Duration{0, 5 * time.Second} { // it is parked after a second
			began := time.Now()
			answers := s.poll("/topics/a/**?wait=10")
			time.Sleep(held)
			name := "a/last/" + held.String()
			s.end(name)
			a := <-answers
			end := s.hub.Now().Cursor.String()
			want := `{"events":[],"cursor":"` + end + `","more":false,"ends":[{"id":"` + end + `","event":"$end","data":{"topic":"` + name + `"}}]}`
			if got := a.all(); time.Since(began) != held || got != want {
				t.Errorf("after %v: %s, want %s", time.Since(began), got, want)
			}
		}
	})
}

// "while the page would be empty, and has no gap and no end": else it is
// answered at once.
func TestLongpollAtOnce(t *testing.T) {
	bubble(t, nil, &memlog.Options{RetainEvents: 2}, func(t *testing.T, s *site) {
		s.publish("a", "1", "2", "3")
		s.publish("ended", "4")
		s.end("ended")
		began := time.Now()
		for path, want := range map[string]string{
			"/topics/a?wait=25&after=" + s.id(2):         `"cursor":"` + s.id(3) + `","more":false}`,                                                       // behind
			"/topics/a?wait=25&limit=1&after=earliest":   `"cursor":"` + s.id(2) + `","more":true}`,                                                        //
			"/topics/a?wait=25&after=" + s.id(0):         `"more":false,"gap":{"after":"` + s.id(0) + `","oldest":"` + s.id(2) + `"}}`,                     // a gap
			"/topics/none?wait=25&after=x":               `{"events":[],"cursor":"` + s.id(5) + `","more":false,"gap":{"after":"x"}}`,                      // nothing is left
			"/topics/ended?wait=25":                      `{"events":[],"cursor":"` + s.id(5) + `","more":false,"end":true}`,                               // the end
			"/topics/ended?wait=25&after=" + s.id(4):     `{"events":[],"cursor":"` + s.id(5) + `","more":false,"end":true}`,                               //
			"/topics/ended?as=longpoll&after=" + s.id(3): `"data":"4","time":"2000-01-01T00:00:00Z"}],"cursor":"` + s.id(4) + `","more":false,"end":true}`, //
		} {
			if got := s.get(path).all(); !strings.HasSuffix(got, want) {
				t.Errorf("%s: got %s, want %s", path, got, want)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		// The end of its topic answers a request that is held.
		answers := s.poll("/topics/b?wait=25")
		time.Sleep(time.Second)
		end := s.end("b")
		if got, want := (<-answers).all(), `{"events":[],"cursor":"`+end+`","more":false,"end":true}`; got != want || time.Since(began) != time.Second {
			t.Errorf("got %s after %v, want %s", got, time.Since(began), want)
		}
	})
}

// A held poll is given what live subscribers are given, be it kept or not.
func TestLongpollOfWhatIsNotKept(t *testing.T) {
	none := 0
	rules, err := topic.NewRules(topic.Rule{Pattern: mustPattern(t, "ephemeral/*"), RetainEvents: &none})
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, nil, &memlog.Options{RetainBytes: 1000, Rules: rules}, func(t *testing.T, s *site) {
		for name, data := range map[string]string{"a": strings.Repeat("too big to keep", 100), "ephemeral/a": "x"} {
			answers := s.poll("/topics/" + name + "?wait=25&after=" + s.publish("b", "x"))
			id := s.publish(name, data)
			got := (<-answers).all()
			want := `{"events":[` + s.line(id, name, strconv.Quote(data)) + `],"cursor":"` + id + `","more":false}`
			if got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		// More at once than the page takes: the rest is not lost on the way.
		answers := s.poll("/topics/a?wait=25&limit=2&after=" + s.publish("b", "x"))
		drafts := make([]topic.Draft, 3)
		for i := range drafts {
			drafts[i] = topic.Draft{Media: "text/plain", Data: []byte{'0' + byte(i)}}
		}
		id, err := s.hub.Publish(t.Context(), "a", drafts, topic.Key{})
		if err != nil {
			t.Fatal(err)
		}
		if got := (<-answers).all(); !strings.Contains(got, `"cursor":"`+s.id(int(id.Seq)+1)+`","more":true`) || strings.Contains(got, `"data":"2"`) {
			t.Error(got)
		}
	})
}

// PROTOCOL.md §12: "answered with its page, maybe an empty one, and its cursor".
func TestLongpollWhenTheServerStops(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		answers := s.poll("/topics/a?wait=25")
		time.Sleep(time.Second)
		end := s.publish("b", "x")
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		a := <-answers
		if got, want := a.all(), `{"events":[],"cursor":"`+end+`","more":false}`; a.StatusCode != 200 || got != want {
			t.Errorf("got %d %s, want %s", a.StatusCode, got, want)
		}
	})
}

// "No byte of the answer is sent before." A client that closes its side only
// gets the page that there is; one that is gone leaves nothing.
func TestLongpollClientLeaves(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/a?wait=25 HTTP/1.1\nHost: a\n\n")
		synctest.Wait()
		if n := s.hub.Subscribers("a"); n != 1 {
			t.Errorf("%d subscribers, want 1", n)
		}
		c.Conn.SetReadDeadline(time.Now().Add(24 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		c.Close()
		synctest.Wait()
		if n := s.hub.Subscribers("a"); n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

// PROTOCOL.md §5.16: pipelined requests are answered in order; "What follows a
// held longpoll waits for it."
func TestLongpollPipelined(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		began := time.Now()
		request := "GET /topics/a?wait=5 HTTP/1.1\nHost: a\n\n"
		c := s.wire(request + request + "GET /topics/b HTTP/1.1\nHost: a\nConnection: close\n\n")
		defer c.Close()
		for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 10 * time.Second} {
			header := c.header(t)
			if took := time.Since(began); took != want || strings.Contains(header, "Preference-Applied") != (i < 2) {
				t.Errorf("answer %d after %v: %s", i, took, header)
			}
			body := make([]byte, len(`{"events":[],"cursor":"`+s.id(0)+`","more":false}`))
			if _, err := c.Reader.Read(body[:1]); err != nil {
				t.Fatal(err)
			}
			for n := 1; n < len(body); {
				m, err := c.Reader.Read(body[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += m
			}
		}
	})
}
