package view

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/topic/presence"
)

// A fakeSession is a session of WebTransport, seen from both ends.
type fakeSession struct {
	theirs, ours net.Conn // the stream; theirs is the client's
	opened       chan struct{}
	in           chan []byte // datagrams of the client
	once         sync.Once
	over         chan struct{}
	answered     chan struct{} // the request was
	status       int
	broken       bool // it panics when its stream is taken

	mu        sync.Mutex
	lines     []string // guarded by mu
	datagrams []string // guarded by mu
	stuck     chan struct{}
	code      uint32
	reason    string
	ended     bool // the server's side of the stream has
}

var errSessionOver = errors.New("the session is over")

func (f *fakeSession) Stream(ctx context.Context) (WebTransportStream, error) {
	select {
	case <-f.opened:
		if f.broken {
			panic("open")
		}
		return &fakeStream{f.ours, f}, nil
	case <-f.over:
		return nil, errSessionOver
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fakeSession) SendDatagram(p []byte) error {
	f.mu.Lock()
	stuck := f.stuck
	f.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.datagrams = append(f.datagrams, string(p))
	return nil
}

func (f *fakeSession) ReceiveDatagram() ([]byte, error) {
	select {
	case p := <-f.in:
		if p == nil {
			panic("hear")
		}
		return p, nil
	case <-f.over:
		return nil, errSessionOver
	}
}

func (f *fakeSession) Close(code uint32, reason string) {
	f.once.Do(func() {
		f.code, f.reason = code, reason
		f.ours.Close()
		f.theirs.Close()
		close(f.over)
	})
}

// A fakeStream ends its sides one by one: an empty line of the client's ends
// his.
type fakeStream struct {
	net.Conn
	session *fakeSession
}

func (s *fakeStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n == 1 && p[0] == 1 {
		panic("read")
	}
	if err == nil && n == 1 && p[0] == 0 {
		return 0, io.EOF
	}
	return n, err
}

func (s *fakeStream) Close() error {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.session.ended = true
	return nil
}

// connectTo asks for a session. Nothing has been opened yet.
func (s *site) connectTo(target string, fields ...string) *fakeSession {
	f := &fakeSession{opened: make(chan struct{}), in: make(chan []byte), over: make(chan struct{}), answered: make(chan struct{})}
	f.theirs, f.ours = net.Pipe()
	s.opts.WebTransport = func(http.ResponseWriter, *http.Request) (WebTransport, error) { return f, nil }
	r := httptest.NewRequest(http.MethodConnect, target, nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host = "webtransport", 3, 0, "duplex.test"
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	setFields(r, fields)
	w := httptest.NewRecorder()
	h := s.Handler
	go func() {
		h.ServeHTTP(w, r)
		f.status = w.Code
		close(f.answered)
	}()
	lines := bufio.NewScanner(f.theirs)
	lines.Buffer(nil, 1<<20)
	go func() {
		for lines.Scan() {
			f.mu.Lock()
			f.lines = append(f.lines, lines.Text())
			f.mu.Unlock()
		}
	}()
	return f
}

// openSession opens a session and its stream.
func (s *site) openSession(target string, fields ...string) *fakeSession {
	f := s.connectTo(target, fields...)
	close(f.opened)
	return f
}

func (f *fakeSession) take(list *[]string) []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := *list
	*list = nil
	return taken
}

func (f *fakeSession) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := f.take(&f.lines); !slices.Equal(got, lines) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

func (f *fakeSession) wantDatagrams(t *testing.T, datagrams ...string) {
	t.Helper()
	if got := f.take(&f.datagrams); !slices.Equal(got, datagrams) {
		t.Errorf("got datagrams\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(datagrams, "\n\t"))
	}
}

func (f *fakeSession) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(f.theirs, text); err != nil {
		t.Fatal(err)
	}
}

func (f *fakeSession) wantClose(t *testing.T, code uint32, reason string) {
	t.Helper()
	<-f.answered
	if f.code != code || f.reason != reason {
		t.Errorf("closed with %d %q, want %d %q", f.code, f.reason, code, reason)
	}
}

// ephemeral is a log whose topics below live/ keep nothing.
func ephemeral(t *testing.T) *memlog.Options {
	rules, err := topic.NewRules(topic.Rule{Pattern: mustPattern(t, "live/*"), RetainEvents: new(0)})
	if err != nil {
		t.Fatal(err)
	}
	return &memlog.Options{Rules: rules}
}

// PROTOCOL.md §16.2: the lines are the messages of §8.3 to §8.7.
func TestWebTransportSession(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		s.publish("x", "1")
		f := s.openSession("/topics")
		f.want(t, s.greeting()[0])
		f.say(t, `{"op":"subscribe","topic":"a/*","after":"`+s.id(1)+`","ref":1}`+"\n")
		f.want(t, `{"op":"ok","ref":1,"id":"`+s.id(1)+`"}`)
		f.say(t, `{"op":"publish","topic":"a/b","data":{"n":1},"ref":"p"}`+"\r\n\n")
		got := f.take(&f.lines)
		slices.Sort(got) // "before or after the event itself"
		if want := []string{s.line(s.id(2), "a/b", `{"n":1}`), `{"op":"ok","ref":"p","id":"` + s.id(2) + `"}`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, part := range []string{`{"op":"pi`, `ng","re`, "f\":2}\n" + `{"op":"ping","ref":3}` + "\n" + `{"op":`} { // however it arrives
			f.say(t, part)
		}
		f.want(t, `{"op":"ok","ref":2,"http":"h3"}`, `{"op":"ok","ref":3,"http":"h3"}`)
		f.say(t, "nonsense\n")
		if got := f.take(&f.lines); len(got) != 1 || !strings.HasPrefix(got[0], `{"op":"error","status":400,"type":"urn:duplex:problem:bad-json"`) {
			t.Errorf("got %q", got)
		}
		if n := s.Taken(); n != 1 {
			t.Errorf("%d connections", n)
		}
		time.Sleep(25 * time.Second)
		f.want(t, s.greeting()[0])
		f.say(t, `{"op":"ping","ref":4}`+"\n")
		f.say(t, "\x00")
		f.wantClose(t, 1000, "")
		f.want(t, `{"op":"ok","ref":4,"http":"h3"}`)
		if !f.ended || s.Taken() != 0 || s.hub.Stats().Subscribers != 0 {
			t.Errorf("ended: %v, %d connections, %d subscribers", f.ended, s.Taken(), s.hub.Stats().Subscribers)
		}
	})
}

// A session resumes as any other subscriber, also by the URL.
func TestWebTransportResumes(t *testing.T) {
	bubble(t, nil, &memlog.Options{RetainEvents: 2}, func(t *testing.T, s *site) {
		for range 4 {
			s.publish("a", "1")
		}
		f := s.openSession("/topics/a?after=" + s.id(3))
		f.want(t, `{"id":"`+s.id(3)+`","event":"$ping","data":{"interval":25}}`, s.line(s.id(4), "a", `"1"`))
		f.Close(0, "")
		<-f.answered
		f = s.openSession("/topics/a?after=" + s.id(1))
		f.want(t, `{"id":"`+s.id(2)+`","event":"$gap","data":{"after":"`+s.id(1)+`","oldest":"`+s.id(3)+`","topic":"a"}}`, s.line(s.id(3), "a", `"1"`), s.line(s.id(4), "a", `"1"`))
		s.end("a")
		f.want(t, `{"id":"`+s.id(5)+`","event":"$end","data":{"topic":"a"}}`) // and the session goes on
		f.say(t, `{"op":"ping","ref":1}`+"\n")
		f.want(t, `{"op":"ok","ref":1,"http":"h3"}`)
		f.Close(0, "")
		<-f.answered
	})
}

// PROTOCOL.md §16.3: why a session is closed.
func TestWebTransportClose(t *testing.T) {
	opts := &Options{MaxEventBytes: 100, WriteTimeout: 30 * time.Second}
	t.Run("no stream", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f, began := s.connectTo("/topics"), time.Now()
			f.wantClose(t, 1002, "no-stream")
			if took := time.Since(began); took != openTimeout {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("too big", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f := s.openSession("/topics")
			f.say(t, `{"op":"ping","ref":1,"x":"`+strings.Repeat("x", 200-28)+"\"}\n") // twice as much as an event
			f.take(&f.lines)
			f.say(t, strings.Repeat("x", 201)+"\n")
			f.wantClose(t, 1009, "too-big")
		})
	})
	t.Run("drain", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f := s.openSession("/topics")
			f.want(t, s.greeting()[0])
			began := time.Now()
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			f.wantClose(t, 1001, "shutting-down")
			if took := time.Since(began); took != closeTimeout || !f.ended {
				t.Errorf("after %v, ended: %v", took, f.ended)
			}
		})
	})
	t.Run("drain, and the client ends its side", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f := s.openSession("/topics")
			f.want(t, s.greeting()[0])
			began := time.Now()
			go s.Shutdown(t.Context())
			synctest.Wait()
			f.say(t, "\x00")
			f.wantClose(t, 1001, "shutting-down")
			if took := time.Since(began); took != 0 {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("cut", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f := s.openSession("/topics")
			f.want(t, s.greeting()[0])
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			f.wantClose(t, 1001, "shutting-down")
		})
	})
	t.Run("write timeout", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f, began := s.connectTo("/topics"), time.Now()
			f.ours = &unmoved{Conn: f.ours}
			close(f.opened)
			f.wantClose(t, 4408, "too-slow")
			if took := time.Since(began); took != opts.WriteTimeout {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("reset", func(t *testing.T) {
		bubble(t, opts, nil, func(t *testing.T, s *site) {
			f := s.openSession("/topics")
			f.want(t, s.greeting()[0])
			f.theirs.Close()
			f.wantClose(t, 1000, "")
		})
	})
}

// A panic costs one session, whichever of its goroutines it is on.
func TestWebTransportPanics(t *testing.T) {
	for name, fail := range map[string]func(*testing.T, *fakeSession){
		"read":  func(t *testing.T, f *fakeSession) { f.say(t, "\x01") },
		"hear":  func(_ *testing.T, f *fakeSession) { f.in <- nil },
		"write": func(*testing.T, *fakeSession) {},
		"open":  func(*testing.T, *fakeSession) {},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			opts := &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
			bubble(t, opts, nil, func(t *testing.T, s *site) {
				f := s.connectTo("/topics")
				f.broken = name == "open"
				if name == "write" {
					f.ours = &broken{f.ours}
				}
				close(f.opened)
				synctest.Wait()
				fail(t, f)
				f.wantClose(t, 1011, "internal")
				synctest.Wait() // the hub counts in its own time
				if !strings.Contains(log.String(), "panic") || s.Taken() != 0 || s.hub.Stats().Subscribers != 0 {
					t.Errorf("%s; %d connections, %d subscribers", log.String(), s.Taken(), s.hub.Stats().Subscribers)
				}
			})
		})
	}
}

// Whatever panics while it has something written, the session can be closed then.
func TestPanicWhileWritten(t *testing.T) {
	s := &webTransport{filled: make(chan struct{}, 1)}
	s.room.L = &s.mu
	func() {
		defer func() { _ = recover() }()
		s.leave(func() { panic("encode") })
	}()
	if !s.mu.TryLock() {
		t.Error("nobody can close it")
	}
}

// A broken connection panics when it is written to.
type broken struct{ net.Conn }

func (*broken) Write([]byte) (int, error) { panic("write") }

// An unmoved connection takes no byte.
type unmoved struct {
	net.Conn
	deadline time.Time
}

func (d *unmoved) SetWriteDeadline(at time.Time) error {
	d.deadline = at
	return nil
}

func (d *unmoved) Write([]byte) (int, error) {
	time.Sleep(time.Until(d.deadline))
	return 0, os.ErrDeadlineExceeded
}

func TestWebTransportRefusals(t *testing.T) {
	bubble(t, &Options{AllowOrigins: []string{"https://app.example"}}, nil, func(t *testing.T, s *site) {
		for _, test := range []struct {
			target, origin string
			status         int
		}{
			{"/topics/a*b", "", 400},
			{"/topics/a?envelope=maybe", "", 400},
			{"/topics/$presence/a", "", 404},
			{"/nothing", "", 404},
			{"/topics/a", "https://evil.example", 403},
		} {
			fields := []string{}
			if test.origin != "" {
				fields = append(fields, "Origin: "+test.origin)
			}
			f := s.connectTo(test.target, fields...)
			<-f.answered
			f.Close(0, "")
			if f.status != test.status {
				t.Errorf("%s from %q: %d", test.target, test.origin, f.status)
			}
		}
		for _, origin := range []string{"https://duplex.test", "https://app.example"} {
			f := s.openSession("/topics", "Origin: "+origin)
			if got := f.take(&f.lines); len(got) != 1 {
				t.Errorf("%s: %q", origin, got)
			}
			f.Close(0, "")
			<-f.answered
		}
		s.opts.WebTransport = nil
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodConnect, "/topics", nil)
		r.Proto, r.ProtoMajor, r.URL.Path = "webtransport", 3, "/topics"
		s.ServeHTTP(w, r)
		if got := outcome(t, w); got != "bad-handshake" {
			t.Error(got)
		}
		if s.Taken() != 0 {
			t.Errorf("%d connections", s.Taken())
		}
	})
}

// PROTOCOL.md §16.4: what may come as a datagram, and what comes on the stream.
func TestDatagrams(t *testing.T) {
	bubble(t, nil, ephemeral(t), func(t *testing.T, s *site) {
		f := s.openSession("/topics")
		f.want(t, s.greeting()[0])
		f.say(t, `{"op":"subscribe","topic":"**","datagrams":true,"ref":1}`+"\n")
		f.want(t, `{"op":"ok","ref":1,"id":"`+s.id(0)+`"}`)
		s.publish("kept", "1")
		s.publish("live/a", "2")
		f.want(t, s.line(s.id(1), "kept", `"1"`))
		f.wantDatagrams(t, s.line(s.id(2), "live/a", `"2"`))

		// It is as long as it may be, then longer by one.
		envelope := len(s.line(s.id(3), "live/a", `""`))
		fits := strings.Repeat("x", maxDatagram-envelope)
		s.publish("live/a", fits)
		s.publish("live/a", fits+"x")
		f.wantDatagrams(t, s.line(s.id(3), "live/a", `"`+fits+`"`))
		f.want(t, s.line(s.id(4), "live/a", `"`+fits+`x"`))

		// What is asked for on the stream comes there.
		f.say(t, `{"op":"subscribe","topic":"live/b","ref":2}`+"\n")
		f.want(t, `{"op":"ok","ref":2,"id":"`+s.id(4)+`"}`)
		s.publish("live/b", "5")
		f.want(t, s.line(s.id(5), "live/b", `"5"`))
		f.say(t, `{"op":"unsubscribe","topic":"live/b","ref":3}`+"\n")
		f.want(t, `{"op":"ok","ref":3}`)
		s.publish("live/b", "6")
		f.wantDatagrams(t, s.line(s.id(6), "live/b", `"6"`))

		// The end of a topic is no event.
		s.end("live/b")
		f.want(t, `{"id":"`+s.id(7)+`","event":"$end","data":{"topic":"live/b"}}`)

		// It can be asked for anew, and without.
		f.say(t, `{"op":"subscribe","topic":"**","datagrams":false,"ref":4}`+"\n")
		f.want(t, `{"op":"ok","ref":4,"id":"`+s.id(7)+`"}`)
		s.publish("live/a", "8")
		f.want(t, s.line(s.id(8), "live/a", `"8"`))
		f.wantDatagrams(t)
		f.say(t, `{"op":"subscribe","topic":"**","datagrams":1,"ref":5}`+"\n")
		if got := f.take(&f.lines); len(got) != 1 || !strings.Contains(got[0], "bad-parameter") {
			t.Errorf("%q", got)
		}
		f.Close(0, "")
		<-f.answered
	})
}

// Events that are not kept come all, however closely they follow each other
// (PROTOCOL.md §2.6).
func TestEphemeralBurst(t *testing.T) {
	bubble(t, nil, ephemeral(t), func(t *testing.T, s *site) {
		f := s.openSession("/topics/live/*")
		f.want(t, s.greeting()[0])
		var lines []string
		for i := range 100 {
			data := fmt.Sprint("number ", i)
			s.publish("live/a", data)
			lines = append(lines, s.line(s.id(i+1), "live/a", `"`+data+`"`))
		}
		f.want(t, lines...)
		f.Close(0, "")
		<-f.answered
	})
}

// Datagrams come although the stream is stalled; when the network takes none,
// they are lost.
func TestDatagramsAreNotHeldUp(t *testing.T) {
	bubble(t, nil, ephemeral(t), func(t *testing.T, s *site) {
		f := s.connectTo("/topics")
		client := f.theirs
		f.theirs, f.ours = net.Pipe() // nobody reads it
		defer client.Close()
		close(f.opened)
		if _, err := io.ReadFull(f.theirs, make([]byte, len(s.greeting()[0])+1)); err != nil {
			t.Fatal(err)
		}
		f.say(t, `{"op":"subscribe","topic":"live/*","datagrams":true}`+"\n"+`{"op":"subscribe","topic":"kept"}`+"\n")
		synctest.Wait()
		s.publish("kept", "stalls")
		synctest.Wait()
		s.publish("live/a", "2")
		f.wantDatagrams(t, s.line(s.id(2), "live/a", `"2"`))
		f.stuck = make(chan struct{})
		for range 3 * waitingDatagrams {
			s.publish("live/a", "x")
			synctest.Wait()
		}
		close(f.stuck)
		if got := f.take(&f.datagrams); len(got) != waitingDatagrams+1 { // one was on its way
			t.Errorf("%d datagrams", len(got))
		}
		f.Close(0, "")
		<-f.answered
	})
}

// A datagram publishes to topics that keep nothing, and to no other.
func TestPublishByDatagram(t *testing.T) {
	bubble(t, nil, ephemeral(t), func(t *testing.T, s *site) {
		f := s.openSession("/topics/live/*")
		f.want(t, s.greeting()[0])
		f.in <- []byte(`{"op":"publish","topic":"live/a","event":"move","data":[1,2]}`)
		f.want(t, strings.Replace(s.line(s.id(1), "live/a", `[1,2]`), `"data"`, `"event":"move","data"`, 1))
		f.in <- []byte(`{"op":"publish","topic":"live/a","data":1,"ref":7}`)
		got := f.take(&f.lines)
		slices.Sort(got)
		if want := []string{s.line(s.id(2), "live/a", `1`), `{"op":"ok","ref":7,"id":"` + s.id(2) + `"}`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for message, want := range map[string]string{
			`{"op":"publish","topic":"kept","data":1,"ref":8}`: `{"op":"error","ref":8,"status":400,"type":"urn:duplex:problem:bad-parameter"`,
			`{"op":"publish","topic":"a//b","data":1}`:         `{"op":"error","status":400,"type":"urn:duplex:problem:bad-topic"`,
			`{"op":"subscribe","topic":"a"}`:                   `{"op":"error","status":400,"type":"urn:duplex:problem:bad-parameter"`,
			`{"op":"publish","topic":"live/a","ref":9}`:        `{"op":"error","ref":9,"status":400,"type":"urn:duplex:problem:missing-data"`,
			"\xff": `{"op":"error","status":400,"type":"urn:duplex:problem:bad-json"`,
		} {
			f.in <- []byte(message)
			if got := f.take(&f.lines); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%s: %q", message, got)
			}
		}
		f.Close(0, "")
		<-f.answered
	})
}

// Who does not read his answers is not heard, and keeps nothing but them.
func TestWebTransportAnswersAreBounded(t *testing.T) {
	bubble(t, &Options{WriteTimeout: time.Hour}, nil, func(t *testing.T, s *site) {
		f := s.connectTo("/topics")
		client := f.theirs
		f.theirs, f.ours = net.Pipe()
		defer client.Close()
		close(f.opened)
		asked := make(chan int)
		go func() {
			ping, n := `{"op":"ping","ref":"`+strings.Repeat("x", 1000)+"\"}\n", 0
			for {
				if _, err := io.WriteString(f.theirs, ping); err != nil {
					break
				}
				n++
			}
			asked <- n
		}()
		time.Sleep(time.Minute)
		f.Close(0, "")
		<-f.answered
		if n := <-asked; n < maxAnswers/1100 || n > maxAnswers/1000+10 {
			t.Errorf("%d pings were taken", n)
		}
	})
}

// A session is a member of its topics for as long as it lasts.
func TestWebTransportPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.Open(nil)
		hub := topic.NewHub(log, nil)
		recorder, err := presence.New(hub, &presence.Options{Patterns: []topic.Pattern{mustPattern(t, "room/*")}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		h, err := New(hub, &Options{Presence: recorder})
		if err != nil {
			t.Fatal(err)
		}
		s := &site{Handler: h, t: t}
		members := func(want int) {
			t.Helper()
			synctest.Wait()
			time.Sleep(time.Second)
			if got := recorder.Snapshot("room/1", "", 10).Count; got != want {
				t.Errorf("%d members, want %d", got, want)
			}
		}
		f := s.openSession("/topics/room/1?member=ada")
		members(1)
		f.say(t, `{"op":"unsubscribe","topic":"room/1"}`+"\n")
		members(0)
		f.say(t, `{"op":"subscribe","topic":"room/1"}`+"\n")
		members(1)
		f.Close(0, "")
		<-f.answered
		members(0)
		recorder.Close()
		hub.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}
