package view

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/websocket"
)

// line is an event as duplex.v1 sends it, without an event type.
func (s *site) line(id, name, data string) string {
	return fmt.Sprintf(`{"id":"%s","topic":"%s","data":%s,"time":"%s"}`, id, name, data, time.Now().UTC().Format(time.RFC3339Nano))
}

// greeting is what a connection gets first.
func (s *site) greeting() []string {
	return []string{`{"id":"` + s.hub.Now().Cursor.String() + `","event":"$ping","data":{"interval":25}}`, "<ping>"}
}

// PROTOCOL.md §8.3: the example.
func TestDuplexExample(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		s.publish("x", "1")
		s.publishAs("orders/7", "paid", "application/json", `{"total":12}`)
		c := s.duplex("/topics")
		if c.Subprotocol() != "duplex.v1" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		c.want(t, s.greeting()...)
		c.say(t, `{"op":"subscribe","topic":"orders/*","after":"`+s.id(1)+`","ref":1}`)
		c.want(t, `{"op":"ok","ref":1,"id":"`+s.id(1)+`"}`,
			`{"id":"`+s.id(2)+`","topic":"orders/7","event":"paid","data":{"total":12},"time":"2000-01-01T00:00:00Z"}`)
		c.say(t, `{"op":"publish","topic":"orders/8","event":"paid","data":{"total":3},"key":"8e03978e","ref":"a"}`)
		got := c.take()
		slices.Sort(got) // "before or after the event itself"
		want := []string{
			`{"id":"` + s.id(3) + `","topic":"orders/8","event":"paid","data":{"total":3},"time":"2000-01-01T00:00:00Z"}`,
			`{"op":"ok","ref":"a","id":"` + s.id(3) + `"}`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		c.say(t, `{"op":"publish","topic":"$x","data":"hi","ref":3}`)
		got = c.take()
		if want := `{"op":"error","ref":3,"status":403,"type":"urn:duplex:problem:system-topic","title":"The topic belongs to the system"`; len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("got %q, want %s", got, want)
		}
		c.leave(t)
	})
}

// PROTOCOL.md §8.4: "Every op with a ref is answered by one ok or error that
// repeats it. Without, only a failure is answered", and nothing of it closes.
func TestOps(t *testing.T) {
	bubble(t, &Options{MaxEventBytes: 100, MaxSubscriptions: 3}, &memlog.Options{MaxTopics: 2}, func(t *testing.T, s *site) {
		s.end("ended")
		c := s.duplex("/topics")
		c.take()
		const ok, silence = "ok", ""
		tests := []struct{ message, want, ref string }{
			{`{"op":"ping","ref":4}`, ok, `4`},
			{`{"op":"ping","ref":-1.50e+3}`, ok, `-1.50e+3`},
			{`{"op":"ping","ref":""}`, ok, `""`},
			{`{"op":"ping","ref":"\u00e9\"\\\n"}`, ok, `"\u00e9\"\\\n"`},
			{`{"op":"ping","ref":"é😀"}`, ok, `"é😀"`},
			{` { "ref" : 1 , "unknown" : [ { } ] , "op" : "ping" } `, ok, `1`},
			{`{"op":"ping"}`, silence, ``},
			{`{"op":"ping","ref":null}`, "bad-parameter", ``},
			{`{"op":"ping","ref":true}`, "bad-parameter", ``},
			{`{"op":"ping","ref":[1]}`, "bad-parameter", ``},
			{`{"op":"ping","ref":{}}`, "bad-parameter", ``},
			{`{"op":"pong","ref":1}`, "bad-parameter", `1`},
			{`{"op":"pong"}`, "bad-parameter", ``},
			{`{"op":5,"ref":1}`, "bad-parameter", `1`},
			{`{"ref":1}`, "bad-parameter", `1`},
			{`{}`, "bad-parameter", ``},
			{``, "bad-json", ``},
			{`nonsense`, "bad-json", ``},
			{`[]`, "bad-json", ``},
			{`"op"`, "bad-json", ``},
			{`{"ref":1,"op":"ping"`, "bad-json", ``},
			{`{"ref":1,"op":"ping"}}`, "bad-json", ``},
			{`{"ref":1,"ref":2,"op":"ping"}`, "bad-json", ``},
			{`{"ref":1,"op":"\ud800"}`, "bad-parameter", `1`},

			{`{"op":"subscribe","topic":"a*","ref":1}`, "bad-pattern", `1`},
			{`{"op":"subscribe","topic":"**/a","ref":1}`, "bad-pattern", `1`},
			{`{"op":"subscribe","topic":"a//b","ref":1}`, "bad-topic", `1`},
			{`{"op":"subscribe","ref":1}`, "bad-topic", `1`},
			{`{"op":"subscribe","topic":5,"ref":1}`, "bad-parameter", `1`},
			{`{"op":"subscribe","topic":["a"],"ref":1}`, "bad-parameter", `1`},
			{`{"op":"subscribe","topic":"a","after":5,"ref":1}`, "bad-parameter", `1`},
			{`{"op":"unsubscribe","topic":"none","ref":1}`, ok, `1`}, // "also if there was none"
			{`{"op":"unsubscribe","topic":null,"ref":1}`, "bad-parameter", `1`},

			{`{"op":"publish","topic":"a","ref":1}`, "missing-data", `1`},
			{`{"op":"publish","topic":"*","data":1,"ref":1}`, "bad-topic", `1`},
			{`{"op":"publish","topic":"a*","data":1,"ref":1}`, "bad-pattern", `1`},
			{`{"op":"publish","topic":"","data":1,"ref":1}`, "bad-topic", `1`},
			{`{"op":"publish","data":1,"ref":1}`, "bad-topic", `1`},
			{`{"op":"publish","topic":"$a","data":1,"ref":1}`, "system-topic", `1`},
			{`{"op":"publish","topic":"$a","data":1}`, "system-topic", ``},
			{`{"op":"publish","topic":"ended","data":1,"ref":1}`, "topic-ended", `1`},
			{`{"op":"publish","topic":"a","data":1,"event":"$end","ref":1}`, "bad-event-type", `1`},
			{`{"op":"publish","topic":"a","data":1,"event":"a\nb","ref":1}`, "bad-event-type", `1`},
			{`{"op":"publish","topic":"a","data":1,"event":5,"ref":1}`, "bad-parameter", `1`},
			{`{"op":"publish","topic":"a","data":"` + strings.Repeat("x", 101) + `","ref":1}`, "too-big", `1`},
			{`{"op":"publish","topic":"a","data":"\ud800","ref":1}`, "bad-json", `1`},
			{`{"op":"publish","topic":"a","data":1,"key":"","ref":1}`, "bad-parameter", `1`}, // §7.4: at least one character
			{`{"op":"publish","topic":"a","data":1,"key":"é","ref":1}`, "bad-parameter", `1`},
			{`{"op":"publish","topic":"a","data":1,"key":7,"ref":1}`, "bad-parameter", `1`},
			{`{"op":"publish","topic":"a","data":1}`, silence, ``},
			{`{"op":"publish","topic":"b","data":1,"ref":1}`, "limit-reached", `1`},
			{`{"op":"publish","topic":"a","data":"` + strings.Repeat("x", 100) + `"}`, silence, ``},
		}
		for _, test := range tests {
			c.say(t, test.message)
			got := strings.Join(c.take(), "\n")
			ref := ""
			if test.ref != "" {
				ref = `,"ref":` + test.ref
			}
			want := ""
			switch test.want {
			case silence:
			case ok:
				want = `{"op":"ok"` + ref + `}`
				if strings.Contains(test.message, "ping") {
					want = `{"op":"ok"` + ref + `,"http":"http/1.1"}`
				}
			default:
				p := newProblem(test.want, "")
				want = fmt.Sprintf(`{"op":"error"%s,"status":%d,"type":"%s","title":"%s"`, ref, p.Status, p.URN(), p.Title)
				if rest, ok := strings.CutPrefix(got, want); ok && strings.HasPrefix(rest, `,"detail":"`) || rest == "}" {
					want = got
				}
			}
			if got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", test.message, got, want)
			}
		}
		c.leave(t)
	})
}

// "publish's data is as in §7.3: a string is text/plain, anything else
// application/json", and "key is §7.4": one namespace with POST.
func TestOpPublish(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.duplex("/topics/a")
		c.want(t, s.greeting()...)
		for i, data := range []string{`"text\r\n\u2028\u0000"`, `""`, `{"a" : [1, "\u00e9"]}`, `null`, `0`, `[{}]`, `false`} {
			c.say(t, `{"op":"publish","topic":"a","event":"message","data":`+data+`}`)
			c.want(t, s.line(s.id(i+1), "a", data))
		}
		events := published(t, s.Handler, "a")
		if e := events[0]; e.Media != "text/plain" || string(e.Data) != "text\r\n\u2028\x00" {
			t.Errorf("text: %s %q", e.Media, e.Data)
		}
		if e := events[2]; e.Media != "application/json" || string(e.Data) != `{"a" : [1, "\u00e9"]}` {
			t.Errorf("JSON: %s %q", e.Media, e.Data)
		}
		c.say(t, `{"op":"unsubscribe","topic":"a"}`)
		c.say(t, `{"op":"publish","topic":"a","data":"once","key":"k","ref":1}`)
		c.say(t, `{"op":"publish","topic":"a","data":"once","key":"k","ref":2}`)
		c.say(t, `{"op":"publish","topic":"a","data":"else","key":"k","ref":3}`)
		c.say(t, `{"op":"publish","topic":"b","data":"else","key":"k","ref":4}`) // "A key belongs to its topic."
		got := c.take()
		if len(got) != 4 || got[0] != `{"op":"ok","ref":1,"id":"`+s.id(8)+`"}` || got[1] != `{"op":"ok","ref":2,"id":"`+s.id(8)+`"}` ||
			!strings.HasPrefix(got[2], `{"op":"error","ref":3,"status":422,"type":"urn:duplex:problem:key-reused"`) || got[3] != `{"op":"ok","ref":4,"id":"`+s.id(9)+`"}` {
			t.Errorf("got %q", got)
		}
		a := s.open("POST", "/topics/a", "once", "Idempotency-Key: k", "Content-Type: text/plain")
		if got := a.all(); got != `{"id":"`+s.id(8)+`"}` {
			t.Errorf("POST with the same key: %d %s", a.StatusCode, got)
		}
		c.leave(t)
	})
}

// "A binary message closes with 1003." One of twice --max-event-bytes is good.
func TestDuplexCloses(t *testing.T) {
	bubble(t, &Options{MaxEventBytes: 100}, nil, func(t *testing.T, s *site) {
		c := s.duplex("/topics")
		c.take()
		if err := c.Write(t.Context(), websocket.Binary, []byte(`{"op":"ping","ref":1}`)); err != nil {
			t.Fatal(err)
		}
		c.wantClose(t, websocket.CloseUnsupportedData, "")
		c = s.duplex("/topics")
		c.take()
		c.say(t, `{"op":"ping","ref":"`+strings.Repeat("x", 200-22)+`"}`)
		if got := c.take(); len(got) != 1 || !strings.HasPrefix(got[0], `{"op":"ok"`) {
			t.Errorf("200 bytes: %q", got)
		}
		c.leave(t)
	})
}

// "subscribe's id is after as asked for, or the place that earliest or now
// stood for. If the cursor has a gap, $gap follows before the first event."
func TestOpSubscribe(t *testing.T) {
	bubble(t, nil, &memlog.Options{RetainEvents: 2}, func(t *testing.T, s *site) {
		s.publish("a", "1", "2", "3", "4")
		s.publish("b", "5")
		three, four, five := s.line(s.id(3), "a", `"3"`), s.line(s.id(4), "a", `"4"`), s.line(s.id(5), "b", `"5"`)
		for _, test := range []struct {
			topic, after, id string
			want             []string
		}{
			{"a", `"` + s.id(2) + `"`, s.id(2), []string{three, four}},
			{"a", `"` + s.id(4) + `"`, s.id(4), nil},
			{"*", `"` + s.id(3) + `"`, s.id(3), []string{four, five}},
			{"*", `"earliest"`, s.id(2), []string{three, four, five}},
			{"b", `"earliest"`, s.id(4), []string{five}},
			{"none", `"earliest"`, s.id(5), nil},
			{"a", `"now"`, s.id(5), nil},
			{"a", `""`, s.id(5), nil},
			{"a", ``, s.id(5), nil}, // "default now"
			{"a", `"` + s.id(1) + `"`, s.id(1), []string{`{"id":"` + s.id(2) + `","event":"$gap","data":{"after":"` + s.id(1) + `","oldest":"` + s.id(3) + `","topic":"a"}}`, three, four}},
			{"**", `"x\"\u2028"`, `x\"\u2028`, []string{`{"id":"` + s.id(2) + `","event":"$gap","data":{"after":"x\"\u2028","oldest":"` + s.id(3) + `","topic":"**"}}`, three, four, five}},
			{"none", `"x-1"`, `x-1`, []string{`{"id":"` + s.id(5) + `","event":"$gap","data":{"after":"x-1","topic":"none"}}`}},
		} {
			c := s.duplex("/topics")
			c.want(t, s.greeting()...)
			member := ""
			if test.after != "" {
				member = `,"after":` + test.after
			}
			c.say(t, `{"op":"subscribe","topic":"`+test.topic+`"`+member+`,"ref":1}`)
			c.want(t, append([]string{`{"op":"ok","ref":1,"id":"` + test.id + `"}`}, test.want...)...)
			c.leave(t)
		}
		// "On /topics/{topic-or-pattern}, and on /topics?topic=..., the connection
		// starts with those subscriptions and the first signal says their cursor."
		for path, want := range map[string][]string{
			"/topics/a?after=" + s.id(3):                          {`{"id":"` + s.id(3) + `","event":"$ping","data":{"interval":25}}`, "<ping>", four},
			"/topics?topic=b&topic=a&after=" + s.id(3):            {`{"id":"` + s.id(3) + `","event":"$ping","data":{"interval":25}}`, "<ping>", four, five},
			"/topics?topic=b&topic=a":                             s.greeting(),
			"/topics/a?after=" + s.id(1):                          {`{"id":"` + s.id(2) + `","event":"$gap","data":{"after":"` + s.id(1) + `","oldest":"` + s.id(3) + `","topic":"a"}}`, three, four},
			"/topics/none?after=" + s.id(5) + "&envelope&limit=1": s.greeting(),
		} {
			c := s.duplex(path)
			if got := c.take(); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", path, got, want)
			}
			c.leave(t)
		}
	})
}

// "One more than --max-subscriptions is 400 too-many-subscriptions"; the same
// again, and one after an unsubscribe, is none more.
func TestOpSubscribeMax(t *testing.T) {
	bubble(t, &Options{MaxSubscriptions: 3}, nil, func(t *testing.T, s *site) {
		c := s.duplex("/topics?topic=a&topic=b")
		c.take()
		say := func(op, name, want string) {
			t.Helper()
			c.say(t, `{"op":"`+op+`","topic":"`+name+`","ref":1}`)
			if got := c.take(); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%s %s: got %q, want %s", op, name, got, want)
			}
		}
		const ok, full = `{"op":"ok","ref":1`, `{"op":"error","ref":1,"status":400,"type":"urn:duplex:problem:too-many-subscriptions"`
		say("subscribe", "c/*", ok)
		say("subscribe", "d", full)
		say("subscribe", "c/*", ok)
		say("subscribe", "a", ok)
		say("unsubscribe", "d", ok)
		say("subscribe", "d", full)
		say("unsubscribe", "b", ok)
		say("subscribe", "d", ok)
		say("subscribe", "e", full)
		s.publish("b", "no more")
		s.publish("e", "neither")
		c.want(t)
		id := s.publish("d", "yes")
		c.want(t, s.line(id, "d", `"yes"`))
		if n := s.hub.Subscribers("b") + s.hub.Subscribers("e"); n != 0 {
			t.Errorf("%d subscriptions are counted", n)
		}
		c.leave(t)
		synctest.Wait()
		if n := s.hub.Subscribers("a") + s.hub.Subscribers("d"); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// PROTOCOL.md §8.5: an event is sent once, however many subscriptions match; a
// subscribe further back rewinds only that subscription; `$ping` has no id
// while one lags.
func TestOpRewind(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		s.publish("a", "1")
		s.publish("b", "2")
		s.publish("a", "3")
		c := s.duplex("/topics?topic=a&topic=*")
		c.take()
		four := s.publish("a", "4")
		c.want(t, s.line(four, "a", `"4"`))
		c.say(t, `{"op":"subscribe","topic":"b","after":"`+s.id(0)+`","ref":1}`)
		c.want(t, `{"op":"ok","ref":1,"id":"`+s.id(0)+`"}`, s.line(s.id(2), "b", `"2"`))
		// "The same topic or pattern again replaces the subscription."
		c.say(t, `{"op":"subscribe","topic":"a","after":"`+s.id(1)+`","ref":2}`)
		c.want(t, `{"op":"ok","ref":2,"id":"`+s.id(1)+`"}`, s.line(s.id(3), "a", `"3"`), s.line(four, "a", `"4"`))
		five := s.publish("b", "5")
		c.want(t, s.line(five, "b", `"5"`))
		c.say(t, `{"op":"unsubscribe","topic":"*","ref":3}`)
		c.want(t, `{"op":"ok","ref":3}`)
		s.publish("c", "6")
		seven := s.publish("a", "7")
		c.want(t, s.line(seven, "a", `"7"`))
		end := s.end("b") // "in duplex.v1 only the subscription is over"
		c.want(t, `{"id":"`+end+`","event":"$end","data":{"topic":"b"}}`)
		nine := s.publish("a", "9")
		c.want(t, s.line(nine, "a", `"9"`))
		c.leave(t)
	})
}

// While a client subscribes again and again further back, others publish: each
// answer comes after the last event of what it replaces, and from its cursor
// on nothing is missing, double or out of order (PROTOCOL.md §8.4, §8.5).
func TestOpSubscribeUnderLoad(t *testing.T) {
	bubble(t, &Options{Ping: time.Hour}, nil, func(t *testing.T, s *site) {
		c := s.duplex("/topics")
		c.take()
		const rounds, burst = 100, 20
		for i := range rounds {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range burst {
					s.publish("a", "x")
				}
			}()
			op := fmt.Sprintf(`{"op":"subscribe","topic":"a","after":"%s","ref":%d}`, s.id(i*burst/2), i)
			if i%5 == 0 {
				op = fmt.Sprintf(`{"op":"subscribe","topic":"a","ref":%d}`, i)
			}
			c.say(t, op)
			if i%7 == 0 {
				c.say(t, `{"op":"unsubscribe","topic":"a"}`)
			}
			<-done
		}
		at, last := uint64(0), uint64(0)
		for _, line := range c.take() {
			e, err := topic.ParseEnvelope([]byte(strings.Replace(line, `"op":"ok"`, `"data":0`, 1)))
			if err != nil {
				t.Fatal(err)
			}
			cursor, err := topic.ParseCursor(e.ID)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if strings.HasPrefix(line, `{"op"`) {
				at = cursor.Seq
				continue
			}
			if cursor.Seq != at+1 {
				t.Fatalf("event %d after %d", cursor.Seq, at)
			}
			at, last = cursor.Seq, cursor.Seq
		}
		if last != rounds*burst {
			t.Errorf("the last event is %d", last)
		}
		c.leave(t)
	})
}

// PROTOCOL.md §8.3: "The first message is a signal", also to a client whose ops
// come with its handshake.
func TestDuplexSignalComesFirst(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		for range 100 {
			conn, err := s.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			c := wireConn{Conn: conn}
			const op = `{"op":"ping","ref":1}`
			frame := "\x81" + string([]byte{byte(0x80 | len(op))}) + "\x00\x00\x00\x00" + op
			go func() {
				_, _ = c.Conn.Write([]byte(strings.ReplaceAll("GET /topics/a HTTP/1.1\n"+openingLines+"Sec-WebSocket-Protocol: duplex.v1\n\n", "\n", "\r\n") + frame))
			}()
			got := make([]byte, 0, 4096)
			for !strings.Contains(string(got), `"op":"ok"`) {
				n, err := c.Conn.Read(got[len(got):cap(got)])
				if err != nil {
					t.Fatalf("%v after %q", err, got)
				}
				got = got[:len(got)+n]
			}
			if ping := strings.Index(string(got), "$ping"); ping < 0 || ping > strings.Index(string(got), `"op"`) {
				t.Fatalf("got %q", got)
			}
			conn.Close()
			synctest.Wait()
		}
	})
}

// A client that sends ops while the server stops, or while it cuts the
// connection, harms nobody.
func TestOpsAtTheEnd(t *testing.T) {
	for range 8 {
		bubble(t, nil, nil, func(t *testing.T, s *site) {
			var clients []*socket
			for range 5 {
				clients = append(clients, s.duplex("/topics?topic=a&topic=b/*"))
			}
			for _, c := range clients {
				go func() {
					for i := range 1000 {
						op := []string{`{"op":"unsubscribe","topic":"a"}`, `{"op":"subscribe","topic":"a"}`, `{"op":"subscribe","topic":"b/*","after":"earliest"}`}[i%3]
						if c.Write(t.Context(), websocket.Text, []byte(op)) != nil {
							return
						}
					}
				}()
			}
			for range 50 {
				s.publish("a", "x")
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			for _, c := range clients {
				<-c.over
				c.CloseNow()
			}
			synctest.Wait()
			if n := s.hub.Subscribers("a"); n != 0 {
				t.Errorf("%d subscriptions are left", n)
			}
		})
	}
}
