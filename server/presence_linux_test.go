package server

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// These are members whose connections were taken from net/http.

// startAttended starts a server that records who is on room.
func startAttended(t *testing.T, grace time.Duration) *Server {
	t.Helper()
	pattern, err := topic.ParsePattern("room")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, &Config{Listen: []string{"127.0.0.1:0"}, Presence: []topic.Pattern{pattern}, PresenceGrace: grace})
}

// wantMembers waits until exactly these are on room.
func (s *Server) wantMembers(t *testing.T, members ...string) {
	t.Helper()
	eventually(t, "on room are "+strings.Join(members, ", "), func() bool {
		return slices.Equal(s.presence.Snapshot("room", "", 100).Members, members)
	})
}

// announced is how many events have told of room.
func (s *Server) announced(t *testing.T) int {
	t.Helper()
	pattern, err := topic.ParsePattern(presence.Prefix + "room")
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.log.Newest(t.Context(), []topic.Pattern{pattern}, topic.Limit{Events: 100})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Entries)
}

const handshake = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"

// holding are requests that hold their connection; the name is in each.
var holding = map[string]string{
	"sse":       "GET /topics/room?as=sse&member=ada HTTP/1.1\n" + host + "\n",
	"stream":    "GET /topics/room?as=stream&member=ada HTTP/1.1\n" + host + "\n",
	"HTTP/1.0":  "GET /topics/room?as=stream&member=ada HTTP/1.0\n" + host + "\n",
	"longpoll":  "GET /topics/room?wait=50&member=ada HTTP/1.1\n" + host + "\n",
	"websocket": "GET /topics/room?member=ada HTTP/1.1\n" + host + handshake + "\n",
	"duplex.v1": "GET /topics/room?member=ada HTTP/1.1\n" + host + handshake + "Sec-WebSocket-Protocol: duplex.v1\n\n",
}

// However a connection ends, its member leaves.
func TestMemberWhoseConnectionEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *net.TCPConn){
		"FIN": func(t *testing.T, c *net.TCPConn) { c.Close() },
		"RST": func(t *testing.T, c *net.TCPConn) {
			if err := c.SetLinger(0); err != nil {
				t.Error(err)
			}
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startAttended(t, -1)
			for as, request := range holding {
				p := s.dial(t)
				p.say(request)
				s.wantMembers(t, "ada")
				if as == "longpoll" { // it leaves net/http after a second
					eventually(t, "the poll is parked", func() bool { return s.view.Taken() == 1 })
				}
				s.wantMembers(t, "ada")
				end(t, p.Conn.(*net.TCPConn))
				s.wantMembers(t)
			}
			if n := s.announced(t); n != 2*len(holding) {
				t.Errorf("%d events, want a join and a leave of each of %d", n, len(holding))
			}
		})
	}
}

// A member who has his next connection, on whatever transport, before the one
// before ends, was always there.
func TestMemberWhoMoves(t *testing.T) {
	s := startAttended(t, -1)
	var last *peer
	for range 2 {
		for as, request := range holding {
			if as == "longpoll" {
				continue // no answer tells that it has begun
			}
			p := s.dial(t)
			p.say(request)
			p.answer()
			if last != nil {
				last.Close()
				s.wantConnections(t, 1)
			}
			last = p
		}
	}
	s.wantMembers(t, "ada")
	if n := s.announced(t); n != 1 {
		t.Errorf("%d events, want one join", n)
	}
}

// Who polls stays from one poll to the next, and not without a grace.
func TestMemberWhoPolls(t *testing.T) {
	s := startAttended(t, time.Hour)
	p := s.dial(t)
	for range 2 {
		p.ask("GET /topics/room?wait=50&member=ada")
		eventually(t, "the poll is parked", func() bool { return s.view.Taken() == 1 })
		s.publish(t, "/topics/room", "hello")
		p.wantAnswer(200)
		p.ask("GET /healthz") // has the connection back in net/http
		p.wantAnswer(200)
	}
	if n := s.announced(t); n != 1 {
		t.Errorf("%d events, want one join", n)
	}
	p.Close()

	s = startAttended(t, -1)
	p = s.dial(t)
	p.ask("GET /topics/room?wait=50&member=ada")
	eventually(t, "the poll is parked", func() bool { return s.view.Taken() == 1 })
	s.wantMembers(t, "ada")
	s.publish(t, "/topics/room", "hello")
	p.wantAnswer(200)
	s.wantMembers(t) // although the connection is open
	p.ask("GET /healthz")
	p.wantAnswer(200)
}

// A stream that ends with its topic leaves its connection open, and nobody on
// the topic.
func TestMemberOfATopicThatEnds(t *testing.T) {
	s := startAttended(t, -1)
	p := s.dial(t)
	p.ask("GET /topics/room?as=stream&member=ada")
	body := bufio.NewReader(p.answer().Body)
	wantLine(t, body, "$ping")
	s.wantMembers(t, "ada")
	s.publish(t, "/topics/room?end", "x")
	wantLine(t, body, `"x"`)
	wantLine(t, body, "$end")
	if _, err := body.ReadByte(); err == nil {
		t.Error("it goes on")
	}
	s.wantMembers(t)
	p.ask("GET /healthz")
	p.wantAnswer(200)
}

// Nobody is a member of who is a member.
func TestPresenceIsRefused(t *testing.T) {
	pattern, err := topic.ParsePattern("$presence/**")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), &Config{Presence: []topic.Pattern{pattern}}); err == nil || !strings.Contains(err.Error(), `"$presence/**" is of the system's topics`) {
		t.Error(err)
	}
}
