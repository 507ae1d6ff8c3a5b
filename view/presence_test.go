package view

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/topic/presence"
)

// attendedBubble is a bubble where the members of room/* are recorded.
func attendedBubble(t *testing.T, opts *Options, recording *presence.Options, f func(t *testing.T, s *site)) {
	t.Helper()
	rules, err := topic.NewRules(presence.Rules(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, opts, &memlog.Options{Rules: rules}, func(t *testing.T, s *site) {
		var o presence.Options
		if recording != nil {
			o = *recording
		}
		o.Patterns = []topic.Pattern{mustPattern(t, "room/*")}
		r, err := presence.New(s.hub, &o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		s.opts.Presence = r
		f(t, s)
	})
}

// wantAttendance compares the names of who is on a topic, in the JSON of the
// list.
func (s *site) wantAttendance(t *testing.T, name string, members ...string) {
	t.Helper()
	synctest.Wait()
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = fmt.Sprintf(`{"member":%q,"verified":false}`, m)
	}
	want := fmt.Sprintf(`{"members":[%s],"count":%d,"cursor":%q,"more":false}`, strings.Join(list, ","), len(members), s.hub.Now().Cursor)
	if got := ask(s, "GET", "/topics/$presence/"+name, "").Body.String(); got != want {
		t.Errorf("on %s: got %s, want %s", name, got, want)
	}
}

// A subscriber on any transport that holds a connection is a member, by the
// name in the URL, until the grace after its end is over.
func TestPresenceOnEachTransport(t *testing.T) {
	for as, open := range map[string]func(s *site, path string) (leave func()){
		"sse":    func(s *site, path string) func() { return s.get(path + "&as=sse").leave },
		"stream": func(s *site, path string) func() { return s.get(path + "&as=stream").leave },
		"raw":    func(s *site, path string) func() { c := s.connect(path, ""); return func() { c.leave(s.t) } },
		"duplex": func(s *site, path string) func() { c := s.duplex(path); return func() { c.leave(s.t) } },
		"longpoll": func(s *site, path string) func() {
			ctx, cancel := context.WithCancel(s.t.Context())
			over := make(chan struct{})
			go func() {
				defer close(over)
				resp, err := s.client.Do(s.request("GET", path+"&wait=50", "").WithContext(ctx))
				if err == nil {
					resp.Body.Close()
				}
			}()
			return func() { cancel(); <-over }
		},
		"post": func(s *site, path string) func() {
			return s.open("POST", strings.Replace(path, "/room/1?", "?topic=room/1&topic=b&as=sse&", 1), "topic=a", "Content-Type: application/x-www-form-urlencoded").leave
		},
	} {
		t.Run(as, func(t *testing.T) {
			attendedBubble(t, nil, nil, func(t *testing.T, s *site) {
				s.wantAttendance(t, "room/1")
				leave := open(s, "/topics/room/1?member=Ada%20L")
				s.wantAttendance(t, "room/1", "Ada L")
				s.wantAttendance(t, "room/2")
				time.Sleep(time.Second)
				tab := open(s, "/topics/room/1?member=Ada%20L") // of the same member
				leave()
				time.Sleep(time.Minute / 4)
				s.wantAttendance(t, "room/1", "Ada L")
				tab()
				synctest.Wait()
				start := time.Now()
				sleepUntilJustBefore(start, presence.DefaultGrace)
				s.wantAttendance(t, "room/1", "Ada L")
				time.Sleep(time.Nanosecond)
				s.wantAttendance(t, "room/1")
				if n := len(published(t, s.Handler, "$presence/room/1")); n != 2 {
					t.Errorf("%d events, want a join and a leave", n)
				}
			})
		})
	}
}

// PROTOCOL.md §14.3, byte for byte.
func TestPresenceEvents(t *testing.T) {
	attendedBubble(t, nil, nil, func(t *testing.T, s *site) {
		stream := s.get("/topics/$presence/room/1?as=stream")
		defer stream.leave()
		sse := s.get("/topics?topic=$presence/room/*&topic=room/*&as=sse")
		defer sse.leave()
		c := s.duplex("/topics")
		c.want(t, s.greeting()...)
		c.say(t, `{"op":"subscribe","topic":"$presence/room/1","ref":1}`)
		all := s.get("/topics/**?as=stream") // does not match
		defer all.leave()
		_, _, _ = stream.take(), sse.take(), all.take()
		c.want(t, `{"op":"ok","ref":1,"id":"`+s.id(0)+`"}`)

		ada := s.get("/topics/room/1?as=sse&member=ada")
		synctest.Wait()
		bob := s.connect("/topics/room/1?member=b%22%3C%C3%B6", "")
		time.Sleep(100 * time.Millisecond)
		ada.leave()
		synctest.Wait()
		bob.leave(t)
		time.Sleep(time.Minute)
		line := func(id int, at, joins, leaves string) string {
			return fmt.Sprintf(`{"id":%q,"topic":"$presence/room/1","event":"presence","data":{"joins":[%s],"leaves":[%s]},"time":"2000-01-01T00:00:%sZ"}`, s.id(id), joins, leaves, at)
		}
		isAda, isBob := `{"member":"ada","verified":false}`, `{"member":"b\"<ö","verified":false}`
		want := []string{line(1, "00", isAda, ""), line(2, "00.1", isBob, ""), line(3, "05.1", "", isAda+","+isBob)}
		pings := regexp.MustCompile(`(?m)^.*\$ping.*\n`)
		if got := pings.ReplaceAllString(stream.take(), ""); got != strings.Join(want, "\n")+"\n" {
			t.Errorf("stream: %s", got)
		}
		if got := pings.ReplaceAllString(strings.Join(c.take(), "\n")+"\n", ""); strings.ReplaceAll(got, "<ping>\n", "") != strings.Join(want, "\n")+"\n" {
			t.Errorf("duplex.v1: %s", got)
		}
		if got, want := sse.take(), "event: presence\nid: "+s.id(1)+"\ndata: {\"joins\":["+isAda+"],\"leaves\":[]}\n\n"; !strings.HasPrefix(got, want) {
			t.Errorf("sse: %s", got)
		}
		if got := pings.ReplaceAllString(all.take(), ""); got != "" {
			t.Errorf("**: %s", got)
		}
		// They are resumed, and read by polls with a cursor, as all events.
		again := s.get("/topics/$presence/room/1?as=stream&after=" + s.id(1))
		if got := again.take(); !strings.HasSuffix(got, "\n"+want[1]+"\n"+want[2]+"\n") {
			t.Errorf("again: %s", got)
		}
		again.leave()
		if got := ask(s, "GET", "/topics/$presence/room/1?limit=1&after="+s.id(1), "").Body.String(); got != `{"events":[`+want[1]+`],"cursor":"`+s.id(2)+`","more":true}` {
			t.Errorf("poll: %s", got)
		}
		c.leave(t)
	})
}

// PROTOCOL.md §14.2: pages and ?count.
func TestPresenceSnapshot(t *testing.T) {
	attendedBubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.duplex("/topics/room/1?member=/c")
		defer c.leave(t)
		for _, member := range []string{"a", "b", "d"} {
			defer s.get("/topics/room/1?as=sse&member=" + member).leave()
		}
		time.Sleep(time.Second)
		end := s.hub.Now().Cursor.String()
		member := func(name string) string { return `{"member":"` + name + `","verified":false}` }
		for query, want := range map[string]string{
			"?limit=3":         `{"members":[` + member("/c") + `,` + member("a") + `,` + member("b") + `],"count":4,"cursor":"` + end + `","more":true,"next":"?from=b&limit=3"}`,
			"?from=b&limit=3":  `{"members":[` + member("d") + `],"count":4,"cursor":"` + end + `","more":false}`,
			"?limit=1&as=poll": `{"members":[` + member("/c") + `],"count":4,"cursor":"` + end + `","more":true,"next":"?as=poll&from=/c&limit=1"}`,
			"?from=d":          `{"members":[],"count":4,"cursor":"` + end + `","more":false}`,
			"?count":           `{"count":4,"cursor":"` + end + `"}`,
		} {
			w := ask(s, "GET", "/topics/$presence/room/1"+query, "")
			if w.Code != 200 || w.Body.String() != want || w.Header().Get("ETag") != `"`+end+`"` || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v %s, want %s", query, w.Code, w.Header(), w.Body, want)
			}
		}
		if w := ask(s, "POST", "/topics?count", `{"topic":"$presence/room/1"}`, "Content-Type: application/json"); w.Body.String() != `{"count":4,"cursor":"`+end+`"}` || w.Header().Get("Link") != "" {
			t.Errorf("POST: %v %s", w.Header(), w.Body)
		}
		if got := outcome(t, ask(s, "GET", "/topics/$presence/room/1?count=4", "")); got != "bad-parameter" {
			t.Errorf("count=4: %s", got)
		}
		// The table has changed when there are events after it.
		s.publish("room/1", "hello")
		if w := ask(s, "GET", "/topics/$presence/room/1", "", `If-None-Match: "`+end+`"`); w.Code != 304 || w.Header().Get("ETag") == "" || w.Header().Get("Link") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		defer s.get("/topics/room/1?as=sse&member=e").leave()
		synctest.Wait()
		if w := ask(s, "GET", "/topics/$presence/room/1?count", "", `If-None-Match: "`+end+`"`); w.Code != 200 || !strings.Contains(w.Body.String(), `"count":5`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := ask(s, "HEAD", "/topics/$presence/room/1", ""); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("ETag") != `"`+s.hub.Now().Cursor.String()+`"` {
			t.Errorf("HEAD: %d %v", w.Code, w.Header())
		}
	})
}

// Several topics on one connection, which come and go (PROTOCOL.md §14.1).
func TestPresenceByOps(t *testing.T) {
	attendedBubble(t, nil, &presence.Options{Grace: -1, MaxMembers: 2}, func(t *testing.T, s *site) {
		c := s.duplex("/topics?topic=a&member=ada")
		c.want(t, s.greeting()...)
		say := func(op, name, want string) {
			t.Helper()
			c.say(t, `{"op":"`+op+`","topic":"`+name+`","ref":1}`)
			synctest.Wait()
			time.Sleep(time.Second)
			if got := strings.Join(c.take(), "\n"); !strings.Contains(got, want) {
				t.Errorf("%s %s: %s, want %s", op, name, got, want)
			}
		}
		say("subscribe", "room/1", `"ok"`)
		say("subscribe", "room/*", `"ok"`) // nobody is on a topic by a pattern
		say("subscribe", "room/2", `"ok"`)
		s.wantAttendance(t, "room/1", "ada")
		s.wantAttendance(t, "room/2", "ada")
		s.wantAttendance(t, "room/3")
		say("subscribe", "room/3", `"status":503,"type":"urn:duplex:problem:limit-reached"`)
		say("subscribe", "room/1", `"ok"`) // it is replaced
		say("unsubscribe", "room/2", `"ok"`)
		s.wantAttendance(t, "room/2")
		say("unsubscribe", "room/2", `"ok"`)
		say("subscribe", "room/3", `"ok"`)
		s.wantAttendance(t, "room/3", "ada")
		say("subscribe", "$presence/room/3", `"ok"`)
		say("subscribe", "$presence/room/*", `"ok"`)
		say("subscribe", "$presence/hall/3", `"status":404,"type":"urn:duplex:problem:presence-off"`)
		c.leave(t)
		time.Sleep(time.Second)
		for name, events := range map[string]int{"room/1": 2, "room/2": 2, "room/3": 2} {
			s.wantAttendance(t, name)
			if n := len(published(t, s.Handler, "$presence/"+name)); n != events {
				t.Errorf("%s: %d events, want %d", name, n, events)
			}
		}
	})
}

// Who polls with a name is there from one poll to the next.
func TestPresenceByLongpolls(t *testing.T) {
	attendedBubble(t, nil, &presence.Options{Grace: 3 * time.Second}, func(t *testing.T, s *site) {
		start := time.Now()
		for range 5 {
			a := s.get("/topics/room/1?wait=10&member=ada")
			_ = a.all()
			time.Sleep(2 * time.Second)
			s.wantAttendance(t, "room/1", "ada")
		}
		if took := time.Since(start); took != 60*time.Second {
			t.Error(took)
		}
		time.Sleep(time.Second)
		s.wantAttendance(t, "room/1")
		if n := len(published(t, s.Handler, "$presence/room/1")); n != 2 {
			t.Errorf("%d events, want 2", n)
		}
		// Without a name, nobody knows who it is; and who does not wait holds nothing.
		for _, query := range []string{"?wait=10", "?wait=0&member=ada", "?member=ada"} {
			answers := s.poll("/topics/room/1" + query)
			time.Sleep(time.Second)
			s.wantAttendance(t, "room/1")
			_ = (<-answers).all()
		}
	})
}

// A subscriber that is refused is on no topic.
func TestPresenceRefusals(t *testing.T) {
	attendedBubble(t, nil, &presence.Options{MaxMembers: 1}, func(t *testing.T, s *site) {
		defer s.get("/topics/room/1?as=sse&member=ada").leave()
		for _, as := range []string{"sse", "stream", "multipart", "iframe", "longpoll", "websocket"} {
			fields := []string{}
			if as == "websocket" {
				fields = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
			}
			for query, want := range map[string]string{
				"room/2?member=ada":                    "limit-reached",
				"room/1?member=bob":                    "limit-reached",
				"room/1?member=":                       "bad-parameter",
				"room/1?member=$a":                     "bad-parameter",
				"room/1?member=a%0A":                   "bad-parameter",
				"room/1?member=%FF":                    "bad-parameter",
				"a?member=" + strings.Repeat("x", 129): "bad-parameter",
				"$presence/hall":                       "presence-off",
				"$presence/$presence/room/1":           "presence-off",
			} {
				w := ask(s, "GET", "/topics/"+query+map[bool]string{true: "&", false: "?"}[strings.Contains(query, "?")]+"as="+as, "", fields...)
				if got := problemName(t, w); got != want || (w.Header().Get("Retry-After") != "") != (want == "limit-reached") {
					t.Errorf("%s as %s: %d %s, want %s", query, as, w.Code, w.Body, want)
				}
				if want == "limit-reached" && !strings.Contains(w.Body.String(), "--max-members") {
					t.Errorf("%s", w.Body)
				}
			}
		}
		for _, method := range []string{"POST", "DELETE"} {
			if got := outcome(t, ask(s, method, "/topics/$presence/room/1", "x")); got != "system-topic" {
				t.Errorf("%s: %s", method, got)
			}
		}
		s.wantAttendance(t, "room/1", "ada")
	})
	bubble(t, nil, nil, func(t *testing.T, s *site) { // nothing is recorded
		for _, name := range []string{"$presence/a", "$presence/a/*"} {
			if w := ask(s, "GET", "/topics/"+name, ""); problemName(t, w) != "presence-off" || w.Code != http.StatusNotFound {
				t.Errorf("%s: %d", name, w.Code)
			}
		}
		if w := ask(s, "GET", "/topics/$presence", ""); w.Code != 200 {
			t.Errorf("%d", w.Code)
		}
		a := s.get("/topics/a?as=sse&member=ada")
		a.leave()
	})
}

// When the server stops, nobody is on a topic any more.
func TestPresenceWhenTheServerStops(t *testing.T) {
	attendedBubble(t, nil, &presence.Options{Grace: -1}, func(t *testing.T, s *site) {
		a := s.get("/topics/room/1?as=sse&member=ada")
		poll := s.poll("/topics/room/1?wait=50&member=bob")
		c := s.duplex("/topics/room/1?member=eve")
		time.Sleep(10 * time.Second)
		s.wantAttendance(t, "room/1", "ada", "bob", "eve")
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _ = a.all(), (<-poll).all()
		<-c.over
		time.Sleep(time.Second)
		if got := s.opts.Presence.Snapshot("room/1", "", 10); got.Count != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// PROTOCOL.md §14.4: what a server knew ends with it, and a cursor from before
// has a gap. Other topics go on where they were.
func TestPresenceAfterARestart(t *testing.T) {
	attendedBubble(t, nil, nil, func(t *testing.T, s *site) {
		ada := s.get("/topics/room/1?as=sse&member=ada")
		synctest.Wait()
		cursor := s.hub.Now().Cursor.String() // 1
		end := s.publish("other", "2")
		s.opts.Presence.Close() // and nobody tells that ada has left
		r, err := presence.New(s.hub, &presence.Options{Patterns: []topic.Pattern{mustPattern(t, "room/*")}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		s.opts.Presence = r
		ada.leave()
		s.wantAttendance(t, "room/1")
		now := s.hub.Now().Cursor.String() // 3: the server has begun
		if w := ask(s, "GET", "/topics/$presence/room/1", "", `If-None-Match: "`+cursor+`"`); w.Code != 200 {
			t.Errorf("what changed without an event: %d", w.Code)
		}
		defer s.get("/topics/room/1?as=sse&member=bob").leave()
		synctest.Wait()

		gap := fmt.Sprintf(`{"id":%q,"event":"$gap","data":{"after":%q,"oldest":%q}}`, cursor, cursor, s.id(4))
		a := s.get("/topics/$presence/room/*?as=stream&after=" + cursor)
		if got := a.take(); !strings.HasPrefix(got, gap+"\n") || strings.Count(got, `"id"`) != 2 || !strings.Contains(got, "bob") {
			t.Errorf("stream: %s, want %s", got, gap)
		}
		a.leave()
		a = s.get("/topics?topic=$presence/room/1&topic=other&as=stream", "Last-Event-ID: "+cursor)
		if got := a.take(); !strings.HasPrefix(got, strings.Replace(gap, s.id(4), s.id(2), 1)+"\n") || strings.Count(got, `"id"`) != 3 || !strings.Contains(got, `"data":"2"`) {
			t.Errorf("with another topic: %s", got)
		}
		a.leave()
		a = s.get("/topics/$presence/room/1?as=stream&after=" + end) // the log's end, then
		if got := a.take(); !strings.HasPrefix(got, strings.ReplaceAll(gap, cursor, end)+"\n") {
			t.Errorf("after the end: %s", got)
		}
		a.leave()
		c := s.duplex("/topics")
		c.want(t, s.greeting()...)
		c.say(t, `{"op":"subscribe","topic":"$presence/room/1","after":"`+cursor+`"}`)
		if got := c.take(); len(got) != 2 || !strings.Contains(got[0], `"$gap"`) || !strings.Contains(got[1], "bob") {
			t.Errorf("duplex.v1: %q", got)
		}
		c.leave(t)
		s.connect("/topics/$presence/room/1?after="+cursor, "").wantClose(t, closeGap, s.id(4))
		for _, query := range []string{"", "&wait=10"} {
			start := time.Now()
			got := s.get("/topics/$presence/room/1?after=" + cursor + query).all()
			if want := fmt.Sprintf(`"more":false,"gap":{"after":%q,"oldest":%q}}`, cursor, s.id(4)); !strings.HasSuffix(got, want) || strings.Count(got, "joins") != 1 || time.Since(start) > 0 {
				t.Errorf("page: %s after %v, want %s", got, time.Since(start), want)
			}
		}
		for tag, want := range map[string]int{cursor: 200, s.hub.Now().Cursor.String(): 304} {
			if w := ask(s, "GET", "/topics/$presence/room/1", "", `If-None-Match: "`+tag+`"`); w.Code != want {
				t.Errorf("If-None-Match %s: %d, want %d", tag, w.Code, want)
			}
		}
		// There is none for cursors of this server, of other topics, and in the words.
		for _, query := range []string{"$presence/room/1?after=" + now, "other?after=" + cursor, "$presence/room/1?after=earliest", "$presence/room/1"} {
			a := s.get("/topics/"+query, "Accept: application/x-ndjson")
			if got := a.take(); strings.Contains(got, "$gap") {
				t.Errorf("%s: %s", query, got)
			}
			a.leave()
		}
	})
}
