package view

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
)

// A roamer reads a pattern by one transport after the other, each cut at a
// random place, and goes on from its cursor.
type roamer struct {
	*site
	random *rand.Rand
	cursor string
	got    []string // ids and data
}

// take takes one envelope, and reports whether it is an event.
func (r *roamer) take(t *testing.T, line []byte) bool {
	t.Helper()
	e, err := topic.ParseEnvelope(line)
	if err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if e.ID != "" {
		r.cursor = e.ID
	}
	if strings.HasPrefix(e.Type, "$") {
		if e.Type == topic.TypeGap {
			t.Fatalf("gap: %s", line)
		}
		return false
	}
	r.got = append(r.got, e.ID+" "+string(e.Data))
	return true
}

// streamed reads at most some bytes of a stream, and cuts it.
func (r *roamer) streamed(t *testing.T, path string, feed func(p []byte)) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+r.random.IntN(1000))*time.Millisecond)
	defer cancel()
	resp, err := r.client.Do(r.request("GET", path, "").WithContext(ctx))
	if err != nil {
		return // cut before the header
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", path, resp.StatusCode)
	}
	body := io.LimitReader(resp.Body, int64(r.random.IntN(20_000)))
	buf := make([]byte, 1+r.random.IntN(5000))
	for {
		n, err := body.Read(buf)
		feed(buf[:n])
		if err != nil {
			return
		}
	}
}

func (r *roamer) lines(t *testing.T) {
	rest := ""
	r.streamed(t, "/topics/a/*?as=stream&after="+r.cursor, func(p []byte) {
		lines := strings.Split(rest+string(p), "\n")
		rest = lines[len(lines)-1] // "A line that the connection's end cut off does not count."
		for _, line := range lines[:len(lines)-1] {
			r.take(t, []byte(line))
		}
	})
}

func (r *roamer) sse(t *testing.T) {
	var p sse.Parser
	r.streamed(t, "/topics/a/*?as=sse&envelope&after="+r.cursor, func(chunk []byte) {
		for e, err := range p.Feed(chunk) {
			if err != nil {
				t.Fatal(err)
			}
			r.take(t, e.Data)
		}
	})
}

func (r *roamer) bare(t *testing.T) {
	var p sse.Parser
	r.streamed(t, "/topics/a/*?as=sse&after="+r.cursor, func(chunk []byte) {
		for e, err := range p.Feed(chunk) {
			if err != nil || e.Type == topic.TypeGap {
				t.Fatalf("%v %s", err, e.Data)
			}
			r.cursor = e.ID
			if e.Type != topic.TypePing {
				r.got = append(r.got, e.ID+" "+string(e.Data))
			}
		}
	})
}

func (r *roamer) page(t *testing.T, query string) {
	var p struct {
		Events []json.RawMessage
		Cursor string
		Gap    json.RawMessage
	}
	a := r.get(fmt.Sprintf("/topics/a/*?limit=%d&after=%s&%s", 1+r.random.IntN(50), r.cursor, query))
	if r.random.IntN(4) == 0 {
		a.leave() // the page is lost
		return
	}
	if err := json.Unmarshal([]byte(a.all()), &p); err != nil || p.Gap != nil {
		t.Fatalf("page: %v, gap %s", err, p.Gap)
	}
	for _, line := range p.Events {
		r.take(t, line)
	}
	r.cursor = p.Cursor
}

func (r *roamer) socket(t *testing.T, query, protocol string) {
	c := r.connect("/topics/a/*?after="+r.cursor+query, protocol)
	time.Sleep(time.Duration(r.random.IntN(500)) * time.Millisecond)
	c.CloseNow()
	<-c.over
	for _, line := range c.take() {
		if line != "<ping>" {
			r.take(t, []byte(line))
		}
	}
}

// "A client may lose its connection, change networks, servers or transports,
// and go on exactly where it stopped" (PROTOCOL.md §1.1).
func TestRoaming(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const events = 2000
	bubble(t, &Options{Ping: 200 * time.Millisecond, MaxWait: time.Second}, nil, func(t *testing.T, s *site) {
		r := &roamer{site: s, random: rand.New(rand.NewPCG(seed, 2)), cursor: s.hub.Now().Cursor.String()}
		transports := []func(*testing.T){
			r.lines, r.sse, r.bare,
			func(t *testing.T) { r.page(t, "as=poll") },
			func(t *testing.T) { r.page(t, "as=longpoll") },
			func(t *testing.T) { r.socket(t, "", subprotocol) },
			func(t *testing.T) { r.socket(t, "&envelope", "") },
		}
		var want []string
		published := make(chan struct{})
		go func() {
			defer close(published)
			random := rand.New(rand.NewPCG(seed, 3))
			for i := range events {
				data := fmt.Sprint(i, strings.Repeat("x", random.IntN(200)))
				want = append(want, s.publish(fmt.Sprintf("a/%d", random.IntN(5)), data)+" "+data)
				if random.IntN(3) == 0 {
					s.publish("b", "not of it")
				}
				if random.IntN(10) == 0 {
					time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
				}
			}
		}()
		changes := 0
		for ; len(r.got) < events; changes++ {
			transports[r.random.IntN(len(transports))](t)
			if changes > 100*events {
				t.Fatalf("no end: %d events", len(r.got))
			}
		}
		<-published
		if !slices.Equal(r.got, want) {
			for i := range r.got {
				if i >= len(want) || r.got[i] != want[i] {
					t.Fatalf("seed %d: event %d of %d is %q, want %q", seed, i, len(r.got), r.got[i], want[i])
				}
			}
		}
		t.Logf("%d connections and pages", changes)
	})
}

// When all clients have gone, in whatever way, no goroutine of theirs is left,
// and no subscription.
func TestNoGoroutineIsLeft(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		s.get("/topics/warm").all()
		s.client.CloseIdleConnections()
		synctest.Wait()
		base := len(bubbleStacks())
		var answers []*answer
		var sockets []*socket
		var wires []wireConn
		for i := range 10 {
			answers = append(answers, s.get("/topics/a?as=sse"), s.get("/topics/a/*?as=stream"))
			sockets = append(sockets, s.duplex("/topics/a"), s.connect("/topics/a", ""))
			wires = append(wires, s.wire("GET /topics/a?wait=50 HTTP/1.1\nHost: a\n\n"), s.wire("GET /topics/a?as=sse HTTP/1.1\nHost: a\n\n"),
				s.wire("GET /topics/a HTTP/1.1\n"+openingLines+"\n"))
			s.publish("a", fmt.Sprint(i))
		}
		synctest.Wait()
		if n := len(bubbleStacks()); n <= base {
			t.Errorf("%d goroutines with clients, %d without", n, base)
		}
		for _, a := range answers {
			a.leave()
		}
		for i, c := range sockets {
			if i%4 < 2 {
				c.leave(t)
			}
			c.CloseNow()
			<-c.over
		}
		for _, c := range wires {
			c.Close()
		}
		s.client.CloseIdleConnections()
		time.Sleep(time.Minute) // writes to those who are gone have failed
		synctest.Wait()
		if left := bubbleStacks(); len(left) != base {
			t.Errorf("%d goroutines, want %d\n%s", len(left), base, strings.Join(left, "\n\n"))
		}
		if n := s.hub.Subscribers("a"); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// bubbleStacks returns the stacks of the goroutines of the caller's bubble.
func bubbleStacks() (stacks []string) {
	buf := make([]byte, 4<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	_, bubble, _ := strings.Cut(strings.SplitN(all[0], "\n", 2)[0], ", ") // the caller's is the first
	for _, stack := range all {
		if strings.Contains(strings.SplitN(stack, "\n", 2)[0], bubble) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
