package view

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/websocket"
)

const openingLines = "Host: a\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n"

// PROTOCOL.md §8.2: the example, byte for byte. The first thing is the signal,
// which is a ping here (§8.7).
func TestRawExample(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/room HTTP/1.1\n" + openingLines + "\n")
		defer c.Close()
		header := c.header(t)
		for _, want := range []string{
			"HTTP/1.1 101 Switching Protocols\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n",
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "Vary: Accept, Prefer, Last-Event-ID, Origin\r\n", "Cache-Control: no-store\r\n",
		} {
			if !strings.Contains(header, want) {
				t.Errorf("no %q in %q", want, header)
			}
		}
		ping := make([]byte, 2)
		if _, err := io.ReadFull(c, ping); err != nil || string(ping) != "\x89\x00" {
			t.Fatalf("got % x, %v", ping, err)
		}
		if _, err := c.Write([]byte("\x81\x85\x37\xfa\x21\x3d\x5f\x9f\x4d\x51\x58")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 7)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "\x81\x05hello" {
			t.Errorf("got % x, %v", got, err)
		}
		if e := published(t, s.Handler, "room"); len(e) != 1 || e[0].Media != "text/plain" || string(e[0].Data) != "hello" {
			t.Errorf("published %v", e)
		}
	})
}

// PROTOCOL.md §15.9: "It answers duplex.v1 whatever else is offered, and never
// repeats a bearer. value."
func TestTokenBesideTheSubprotocol(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics HTTP/1.1\n" + openingLines + "Sec-WebSocket-Protocol: bearer.eyJh.b-c_d, duplex.v1\n\n")
		defer c.Close()
		if header := c.header(t); !strings.Contains(header, "\r\nSec-WebSocket-Protocol: duplex.v1\r\n") || strings.Contains(header, "bearer") {
			t.Errorf("answered %q", header)
		}
	})
}

// "Each event's data is one message, byte for byte as published"; "text as
// text/plain, binary as application/octet-stream".
func TestRaw(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		a := s.connect("/topics/room", "")
		b := s.connect("/topics/room?envelope", "")
		all := s.connect("/topics/**", "")
		a.want(t, "<ping>")
		b.want(t, s.withIDs(`{"id":"0","event":"$ping","data":{"interval":25}}`), "<ping>")
		all.want(t, "<ping>")
		a.say(t, "text \u2028\r\n")
		synctest.Wait()
		if err := b.Write(t.Context(), websocket.Binary, []byte("\x00\xff\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.say(t, "")
		synctest.Wait()
		s.publishAs("room", "typed", "application/json", "{\r\n}")
		s.end("other")
		a.want(t, "text \u2028\r\n", "binary 00ff0d0a", "", "{\r\n}")
		all.want(t, "text \u2028\r\n", "binary 00ff0d0a", "", "{\r\n}")
		b.want(t, s.withIDs(`{"id":"1","topic":"room","data":"text \u2028\r\n","time":"2000-01-01T00:00:00Z"}`),
			s.withIDs(`{"id":"2","topic":"room","media":"application/octet-stream","data":"data:application/octet-stream;base64,AP8NCg==","binary":true,"time":"2000-01-01T00:00:00Z"}`),
			s.withIDs(`{"id":"3","topic":"room","data":"","time":"2000-01-01T00:00:00Z"}`),
			s.withIDs(`{"id":"4","topic":"room","event":"typed","data":{  },"time":"2000-01-01T00:00:00Z"}`))
		end := s.end("room")
		for _, c := range []*socket{a, b} {
			c.wantClose(t, websocket.CloseNormal, "end")
		}
		a.want(t)
		b.want(t, `{"id":"`+end+`","event":"$end","data":{"topic":"room"}}`) // "comes before the close"
		all.want(t)
		all.leave(t)
		// "A raw WebSocket there is accepted and closed with 1000 end."
		for query, want := range map[string][]string{
			"": {"<ping>"}, "?after=now": {"<ping>"}, "?after=" + end: {"<ping>"},
			"?after=" + s.id(3): {"<ping>", "{\r\n}"},
		} {
			late := s.connect("/topics/room"+query, "")
			late.wantClose(t, websocket.CloseNormal, "end")
			late.want(t, want...)
		}
		late := s.connect("/topics/room?envelope", "", "Last-Event-ID: "+s.id(4))
		late.wantClose(t, websocket.CloseNormal, "end")
		late.want(t, s.withIDs(`{"id":"4","event":"$ping","data":{"interval":25}}`), "<ping>", `{"id":"`+end+`","event":"$end","data":{"topic":"room"}}`)
	})
}

// "a gap is close 4410 with the oldest id as reason (empty if nothing is left),
// at the start or later."
func TestRawGap(t *testing.T) {
	bubble(t, &Options{Ping: time.Hour}, &memlog.Options{RetainEvents: 2, RetainAge: 10 * time.Second}, func(t *testing.T, s *site) {
		s.publish("a", "1", "2", "3", "4")
		c := s.connect("/topics/a?after="+s.id(1), "")
		c.wantClose(t, 4410, s.id(3))
		c.want(t)
		c = s.connect("/topics/none?after=x", "")
		c.wantClose(t, 4410, "")
		c = s.connect("/topics/a?after=earliest", "")
		c.want(t, "<ping>", "3", "4")
		c.leave(t)
		c = s.connect("/topics/a?envelope&after="+s.id(1), "")
		c.want(t, s.withIDs(`{"id":"2","event":"$gap","data":{"after":"1","oldest":"3"}}`),
			s.withIDs(`{"id":"3","topic":"a","data":"3","time":"2000-01-01T00:00:00Z"}`), s.withIDs(`{"id":"4","topic":"a","data":"4","time":"2000-01-01T00:00:00Z"}`))
		c.leave(t)

		// Later: retention overtakes a reader that does not read.
		slow := s.wire("GET /topics/a HTTP/1.1\n" + openingLines + "\n")
		defer slow.Close()
		slow.header(t)
		ping := make([]byte, 2)
		if _, err := io.ReadFull(slow, ping); err != nil {
			t.Fatal(err)
		}
		s.publish("a", "5")
		synctest.Wait() // it is being written
		s.publish("a", "6", "7", "8", "9")
		synctest.Wait() // 6 and 7 are passed by, and lost
		got := make([]byte, 3+4+len(s.id(8)))
		if _, err := io.ReadFull(slow, got); err != nil || string(got[:3]) != "\x81\x015" || got[3] != 0x88 || string(got[5:7]) != "\x11\x3a" || string(got[7:]) != s.id(8) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// "A refused publish closes with 1008 and the problem's NAME as reason, also
// one to a pattern URL. A publish that the server could not store closes with
// 1011 and the NAME."
func TestRawRefusals(t *testing.T) {
	bubble(t, &Options{MaxEventBytes: 10}, &memlog.Options{MaxTopics: 1}, func(t *testing.T, s *site) {
		s.publish("only", "x")
		for _, test := range []struct {
			path   string
			data   string
			code   websocket.CloseCode
			reason string
		}{
			{"/topics/*", "x", websocket.ClosePolicyViolation, "bad-topic"},
			{"/topics/a/**", "x", websocket.ClosePolicyViolation, "bad-topic"},
			{"/topics/$sys", "x", websocket.ClosePolicyViolation, "system-topic"},
			{"/topics/another", "x", websocket.CloseInternalError, "limit-reached"},
		} {
			c := s.connect(test.path, "")
			c.take()
			c.say(t, test.data)
			c.wantClose(t, test.code, test.reason)
		}
		c := s.connect("/topics/only", "")
		c.say(t, "1234567890")
		c.want(t, "<ping>", "1234567890")
		c.leave(t)
	})
	// The end and the refusal come at the same time: either is right.
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.connect("/topics/a", "")
		c.take()
		s.end("a")
		_ = c.Write(t.Context(), websocket.Text, []byte("late")) // it may be closed already
		<-c.over
		if e, ok := c.err.(*websocket.CloseError); !ok || e.Code != 1000 && e.Code != 1008 {
			t.Errorf("closed with %v", c.err)
		}
	})
}

// The close frame of a refused publish arrives, whatever else is on its way.
func TestRawRefusalUnderLoad(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		for range 50 {
			c := s.wire("GET /topics/* HTTP/1.1\n" + openingLines + "\n")
			c.header(t)
			received := make(chan []byte)
			go func() {
				data, _ := io.ReadAll(c) // until the server closes the pipe
				received <- data
			}()
			say := func(text string) { // it may be closed already
				_, _ = c.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...))
			}
			for range 10 {
				s.publish("a", "x")
			}
			say("refused")
			for range 10 {
				s.publish("a", "x")
				say("dropped")
			}
			_, _ = c.Write([]byte("\x88\x80\x00\x00\x00\x00"))
			if data := <-received; !bytes.HasSuffix(data, []byte("\x88\x0b\x03\xf0bad-topic")) {
				t.Errorf("closed with %q, want 1008 bad-topic", data[max(0, len(data)-20):])
			}
			c.Close()
		}
	})
}

// PROTOCOL.md §8.7: pings at exactly the interval; what answers them stays.
func TestWebSocketHeartbeats(t *testing.T) {
	bubble(t, &Options{Ping: 10 * time.Second}, nil, func(t *testing.T, s *site) {
		start := time.Now()
		raw, duplex := s.connect("/topics/a", ""), s.duplex("/topics/a")
		none := s.duplex("/topics")
		signal := func() string {
			return `{"id":"` + s.hub.Now().Cursor.String() + `","event":"$ping","data":{"interval":10}}`
		}
		raw.want(t, "<ping>")
		duplex.want(t, signal(), "<ping>")
		none.want(t, signal(), "<ping>") // "a $ping with the confirmed end"
		for n := range time.Duration(10) {
			s.publish("b", "x")
			sleepUntilJustBefore(start, (n+1)*10*time.Second)
			raw.want(t)
			duplex.want(t)
			none.want(t)
			time.Sleep(time.Nanosecond)
			raw.want(t, "<ping>")
			duplex.want(t, signal(), "<ping>")
			none.want(t, signal(), "<ping>")
		}
		for _, c := range []*socket{raw, duplex, none} {
			c.leave(t)
		}
	})
}

// "A connection from which nothing at all was received for 1.5 intervals is
// closed".
func TestSilentWebSocketIsClosed(t *testing.T) {
	for _, protocol := range []string{"", "Sec-WebSocket-Protocol: duplex.v1\n"} {
		bubble(t, &Options{Ping: 10 * time.Second}, nil, func(t *testing.T, s *site) {
			start := time.Now()
			c := s.wire("GET /topics/a HTTP/1.1\n" + openingLines + protocol + "\n")
			defer c.Close()
			c.header(t)
			over := make(chan time.Duration)
			go func() {
				_, _ = io.Copy(io.Discard, c) // and it answers nothing
				over <- time.Since(start)
			}()
			time.Sleep(4 * time.Second)
			if _, err := c.Write([]byte("\x8a\x80\x00\x00\x00\x00")); err != nil { // a pong
				t.Fatal(err)
			}
			s.publish("a", "what is sent to it does not count")
			if took := <-over; took != 19*time.Second {
				t.Errorf("closed after %v, want 19s", took)
			}
		})
	}
}

// "... unless bytes to it are still waiting to be written; then
// --write-timeout decides."
func TestSilentWebSocketWithAWrite(t *testing.T) {
	bubble(t, &Options{Ping: 10 * time.Second, WriteTimeout: time.Minute}, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/a HTTP/1.1\n" + openingLines + "\n")
		defer c.Close()
		c.header(t)
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		s.publish("a", "nobody takes it")
		other := s.connect("/topics/a", "")
		s.publish("a", "live")
		other.want(t, "<ping>", "live")
		if time.Since(began) != 0 {
			t.Errorf("the others waited for %v", time.Since(began))
		}
		sleepUntilJustBefore(began, time.Minute)
		if n := s.hub.Subscribers("a"); n != 2 {
			t.Errorf("closed early: %d subscribers", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := s.hub.Subscribers("a"); n != 1 {
			t.Errorf("not closed: %d subscribers", n)
		}
		other.leave(t)
	})
	// One that takes the bytes in time, and speaks again, lives.
	bubble(t, &Options{Ping: 10 * time.Second, WriteTimeout: time.Minute}, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/a HTTP/1.1\n" + openingLines + "\n")
		defer c.Close()
		c.header(t)
		if _, err := c.Discard(2); err != nil {
			t.Fatal(err)
		}
		s.publish("a", "1")
		time.Sleep(35 * time.Second)
		for _, want := range []string{"\x81\x011", "\x89\x00", "\x81\x012"} {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
			if want == "\x89\x00" { // the heartbeat that came due
				if _, err := c.Write([]byte("\x8a\x80\x00\x00\x00\x00")); err != nil {
					t.Fatal(err)
				}
				s.publish("a", "2")
			}
		}
	})
}

// PROTOCOL.md §8.8 and §12: "close 1001 shutting-down". Shutdown returns when
// they are gone, or when its context is.
func TestWebSocketsWhenTheServerStops(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		raw, duplex := s.connect("/topics/a", ""), s.duplex("/topics/a")
		s.publish("a", "x")
		raw.want(t, "<ping>", "x")
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		raw.wantClose(t, websocket.CloseGoingAway, "shutting-down")
		duplex.wantClose(t, websocket.CloseGoingAway, "shutting-down")
		if _, resp, err := s.tryConnect("/topics/a", ""); err == nil || resp.StatusCode != 503 {
			t.Errorf("a new one: %v", err)
		}
	})
	bubble(t, &Options{WriteTimeout: time.Hour}, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/a HTTP/1.1\n" + openingLines + "\n")
		c.header(t) // and does not even take the first ping
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		c.Close()
		synctest.Wait()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Refusals come as HTTP problems before the 101 (PROTOCOL.md §8.1, §8.3).
func TestHandshakeRefusals(t *testing.T) {
	bubble(t, &Options{MaxSubscriptions: 2}, nil, func(t *testing.T, s *site) {
		for _, test := range []struct {
			request string
			status  string
			name    string
			fields  []string
		}{
			{"GET /topics HTTP/1.1\n" + openingLines, "400", "bad-handshake", nil},
			{"GET /topics?topic=a HTTP/1.1\n" + openingLines, "400", "bad-handshake", nil},
			{"GET /topics?topic=a HTTP/1.1\nSec-WebSocket-Protocol: v2, Duplex.v1\n" + openingLines, "400", "bad-handshake", nil},
			{"GET /topics/a HTTP/1.1\n" + strings.Replace(openingLines, "13", "8", 1), "426", "upgrade-required",
				[]string{"Sec-Websocket-Version: 13\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade"}},
			{"GET /topics/a HTTP/1.1\n" + strings.Replace(openingLines, "Key: ", "Key: x", 1), "400", "bad-handshake", nil},
			{"GET /topics/a HTTP/1.1\n" + strings.Replace(openingLines, "Connection", "Connexion", 1), "400", "bad-handshake", nil},
			{"GET /topics/a HTTP/1.1\nOrigin: http://evil.example\n" + openingLines, "403", "origin-refused", nil},
			{"GET /topics/a*b HTTP/1.1\n" + openingLines, "400", "bad-pattern", nil},
			{"GET /topics?topic=a&topic=b&topic=c HTTP/1.1\nSec-WebSocket-Protocol: duplex.v1\n" + openingLines, "400", "too-many-subscriptions", nil},
			{"GET /topics/a?envelope=2 HTTP/1.1\n" + openingLines, "400", "bad-parameter", nil},
			{"GET /topics/a HTTP/1.0\n" + openingLines, "400", "bad-handshake", nil},
		} {
			c := s.wire(test.request + "\n")
			header := c.header(t)
			body := make([]byte, 1000)
			n, _ := io.ReadFull(c, body[:1])
			for n > 0 && body[n-1] != '}' {
				if _, err := io.ReadFull(c, body[n:n+1]); err != nil {
					t.Fatal(err)
				}
				n++
			}
			c.Close()
			var problem struct{ Type string }
			if err := json.Unmarshal(body[:n], &problem); err != nil {
				t.Fatalf("%v in %s", err, body[:n])
			}
			if !strings.Contains(strings.SplitN(header, "\r\n", 2)[0], test.status) || problem.Type != "urn:duplex:problem:"+test.name {
				t.Errorf("%s: got %s %s", test.request, header, body[:n])
			}
			for _, field := range test.fields {
				if !strings.Contains(header, field) {
					t.Errorf("%s: no %q in %s", test.request, field, header)
				}
			}
		}
		// "if it is offered ..., else none is"
		c, resp, err := s.tryConnect("/topics/a", "other")
		if err != nil || c.Subprotocol() != "" || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v", err)
		}
		c.want(t, "<ping>")
		c.leave(t)
	})
}

// "Too big is 1009", above twice the limit in duplex.v1; text that is not UTF-8
// and frames against the RFC are 1007 and 1002 (PROTOCOL.md §8.8).
func TestClosingFor(t *testing.T) {
	s := &webSocket{session: session{handler: openHandler(t, nil, nil)}}
	for _, test := range []struct {
		end  error
		want closing
	}{
		{topic.ErrEnded, closing{1000, "end"}},
		{topic.ErrClosed, closing{1001, "shutting-down"}},
		{topic.ErrTooSlow, closing{4408, "too-slow"}},
		{&topic.GapError{}, closing{4410, ""}},
		{&topic.GapError{Oldest: topic.ID{Epoch: 1, Seq: 5}}, closing{4410, topic.ID{Epoch: 1, Seq: 5}.String()}},
		{io.ErrUnexpectedEOF, closing{1011, "internal"}},
	} {
		if got := s.closingFor(test.end); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.end, got, test.want)
		}
	}
}

func TestWebSocketFaults(t *testing.T) {
	const duplex = "Sec-WebSocket-Protocol: duplex.v1\n"
	for _, test := range []struct {
		protocol, frame, code, reason string
	}{
		{"", "\x81\x81\x00\x00\x00\x00\xff", "\x03\xef", ""},
		{"", "\x83\x80\x00\x00\x00\x00", "\x03\xea", ""},
		{"", "\x81\x01x", "\x03\xea", ""},
		{"", "\x81\x8b\x00\x00\x00\x00", "\x03\xf1", "too-big"},                              // 11 bytes are announced
		{"", "\x01\x85\x00\x00\x00\x0012345\x80\x86\x00\x00\x00\x00", "\x03\xf1", "too-big"}, // 5 and 6
		{duplex, "\x81\x95\x00\x00\x00\x00", "\x03\xf1", "too-big"},
	} {
		bubble(t, &Options{MaxEventBytes: 10}, nil, func(t *testing.T, s *site) {
			c := s.wire("GET /topics/a HTTP/1.1\n" + test.protocol + openingLines + "\n")
			defer c.Close()
			c.header(t)
			if test.protocol != "" {
				if _, err := c.Discard(2 + len(s.greeting()[0])); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Discard(2); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte(test.frame)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4)
			if _, err := io.ReadFull(c, got); err != nil || got[0] != 0x88 || string(got[2:]) != test.code {
				t.Fatalf("%q: got % x, %v", test.frame, got, err)
			}
			reason := make([]byte, got[1]-2)
			if _, err := io.ReadFull(c, reason); err != nil || test.reason != "" && string(reason) != test.reason {
				t.Errorf("%q: reason %q, %v", test.frame, reason, err)
			}
			if e := published(t, s.Handler, "a"); len(e) > 0 {
				t.Errorf("%q: published %q", test.frame, e[0].Data)
			}
		})
	}
}

// PROTOCOL.md §8.1: "the server's messages of 256 B to 64 KiB are compressed
// then".
func TestCompression(t *testing.T) {
	for _, off := range []bool{false, true} {
		for _, protocol := range []string{"", subprotocol} {
			bubble(t, &Options{NoCompression: off}, nil, func(t *testing.T, s *site) {
				var lengths []int64
				conn, _, err := websocket.Dial(t.Context(), "ws://duplex.test/topics/a", &websocket.DialOptions{
					NetDial: s.dial, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
					Subprotocols: []string{protocol}[:len(protocol)/len(subprotocol)],
					Options: websocket.Options{ReadLimit: -1, Compression: &websocket.Compression{}, Observe: func(e websocket.FrameEvent) {
						if !e.Sent && e.Opcode == websocket.Text {
							lengths = append(lengths, e.Length)
						}
					}},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.CloseNow()
				want := func(part string) {
					t.Helper()
					if _, text, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(text), part) {
						t.Fatalf("%d bytes, %v", len(text), err)
					}
				}
				if protocol != "" {
					want("$ping")
					lengths = nil
				}
				for _, n := range []int{10, 1000, 60_000, 70_000} {
					data := strings.Repeat("x", n)
					s.publish("a", data)
					want(data)
				}
				compressed := !off
				if lengths[0] < 10 || lengths[1] < 1000 != compressed || lengths[2] < 60_000 != compressed || lengths[3] < 70_000 {
					t.Errorf("without compression %t: frames of %d bytes", off, lengths)
				}
			})
		}
	}
}
