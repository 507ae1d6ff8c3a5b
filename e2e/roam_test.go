//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// "That id is valid on every transport: a client may lose its connection,
// change networks, servers or transports, and go on exactly where it stopped"
// (PROTOCOL.md §1.1): a reader changes the transport all the time while 20,000
// events are published at 2,000/s, and its connections are cut. Its list is
// the publisher's.
func TestRoamingReader(t *testing.T) {
	s := serve(t)
	const total, perBatch = 20_000, 10
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := &roamer{
		t:      t,
		target: s.topic("roam"),
		cursor: s.page(t, "roam", "").Cursor,
		total:  total,
		random: rand.New(rand.NewPCG(seed, 0)),
		legs:   make(map[string]int),
		cuts:   make(map[cut]int),
	}

	published := make([]record, 0, total)
	var publisher sync.WaitGroup
	began := time.Now()
	// Ends with the last event or the test. Joined below.
	publisher.Go(func() {
		pace := time.NewTicker(perBatch * time.Second / 2000)
		defer pace.Stop()
		for len(published) < total {
			<-pace.C
			var batch strings.Builder
			var data []string
			for range perBatch {
				text := fmt.Sprintf("event %d %s", len(published)+len(data), strings.Repeat("·", len(published)%50))
				data = append(data, text)
				line, _ := json.Marshal(map[string]string{"data": text}) // strings always marshal
				batch.Write(append(line, '\n'))
			}
			response, err := direct.Post(s.topic("roam")+"?batch", "application/x-ndjson", strings.NewReader(batch.String()))
			if err != nil {
				t.Error(err)
				return
			}
			var answer struct{ IDs []string }
			err = json.NewDecoder(response.Body).Decode(&answer)
			response.Body.Close()
			if err != nil || len(answer.IDs) != perBatch {
				t.Errorf("batch: %s, %d ids, %v", response.Status, len(answer.IDs), err)
				return
			}
			for i, id := range answer.IDs {
				published = append(published, record{id, data[i]})
			}
		}
		t.Logf("published %d events in %v", len(published), time.Since(began).Round(time.Millisecond))
	})
	r.roam()
	publisher.Wait()
	checkRecords(t, "roaming reader", r.got, published)
	t.Logf("legs %v, cuts %v", r.legs, r.cuts)
	for _, kind := range []string{"websocket", "sse", "longpoll", "stream", "poll"} {
		if r.legs[kind] < 3 {
			t.Errorf("only %d legs by %s: the test proves little", r.legs[kind], kind)
		}
	}
	for _, how := range []cut{cutClose, cutReset, cutHalf} {
		if r.cuts[how] < 3 {
			t.Errorf("only %d cuts by %s: the test proves little", r.cuts[how], how)
		}
	}
}

// A cut is the way that a connection is lost.
type cut string

const (
	cutClose cut = "close"
	cutReset cut = "reset"
	cutHalf  cut = "half-close" // this side says that it sends no more, and takes what still comes
)

// A roamer reads a topic over changing transports.
type roamer struct {
	t      *testing.T
	target string // URL of the topic
	cursor string
	total  int // events there will be
	got    []record
	random *rand.Rand
	legs   map[string]int
	cuts   map[cut]int
}

func (r *roamer) roam() {
	legs := []struct {
		name string
		read func(context.Context, *leg) error
	}{
		{"websocket", r.websocket}, {"sse", r.sse}, {"longpoll", r.longpoll}, {"stream", r.stream}, {"poll", r.poll},
	}
	for i := 0; len(r.got) < r.total; i++ {
		kind := legs[i%len(legs)]
		l := &leg{
			until: min(r.total, len(r.got)+1+r.random.IntN(400)),
			how:   []cut{cutClose, cutReset, cutHalf}[r.random.IntN(3)],
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), patience)
		err := kind.read(ctx, l)
		if ctx.Err() != nil {
			r.t.Errorf("%s does not deliver: %v", kind.name, err)
		}
		cancel()
		if err != nil {
			r.t.Errorf("%s after %d events: %v", kind.name, len(r.got), err)
		}
		if r.t.Failed() {
			return
		}
		r.legs[kind.name]++
		r.cuts[l.how]++
	}
}

// A leg is the way with one connection.
type leg struct {
	until int // how many events there are at its end
	how   cut
	conn  *net.TCPConn
	cutAt bool // it was cut, and only what is on the way still comes
}

func (l *leg) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.conn = conn.(*net.TCPConn)
	return conn, nil
}

// cut cuts the connection, and reports whether more can come.
func (l *leg) cut() bool {
	l.cutAt = true
	switch l.how {
	case cutHalf:
		return l.conn.CloseWrite() == nil
	case cutReset:
		_ = l.conn.SetLinger(0) // fails only if it is lost already
	}
	l.conn.Close()
	return false
}

// take accepts an event or a signal, and reports whether to go on reading.
func (r *roamer) take(l *leg, e event) (bool, error) {
	switch {
	case e.Event == "$gap" || e.Event == "$end":
		return false, fmt.Errorf("%s %s", e.Event, e.Data)
	case e.isSignal():
	default:
		r.got = append(r.got, record{e.ID, e.text()})
	}
	if e.ID != "" {
		r.cursor = e.ID
	}
	if l.cutAt || len(r.got) < l.until {
		return true, nil
	}
	return l.cut(), nil
}

func (r *roamer) url(query url.Values) string {
	query.Set("after", r.cursor)
	return r.target + "?" + query.Encode()
}

func (r *roamer) websocket(ctx context.Context, l *leg) error {
	target, opts := r.url(url.Values{}), &websocket.DialOptions{NetDial: l.dial}
	if r.random.IntN(2) == 0 {
		opts.Subprotocols = []string{"duplex.v1"}
	} else {
		target = r.url(url.Values{"envelope": {""}})
	}
	conn, _, err := websocket.Dial(ctx, strings.Replace(target, "http:", "ws:", 1), opts)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	for more := true; more; {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return l.lost(err)
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if more, err = r.take(l, e); err != nil {
			return err
		}
	}
	return nil
}

// lost is nil if the connection was cut: then an error is what is to come.
func (l *leg) lost(err error) error {
	if l.cutAt {
		return nil
	}
	return err
}

// get sends a request on the leg's own connection.
func (l *leg) get(ctx context.Context, target, accept string) (*http.Response, func(), error) {
	transport := &http.Transport{DialContext: l.dial}
	request, err := http.NewRequestWithContext(ctx, "GET", target, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", accept)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, errors.New(response.Status)
	}
	return response, func() { response.Body.Close(); transport.CloseIdleConnections() }, nil
}

func (r *roamer) sse(ctx context.Context, l *leg) error {
	response, done, err := l.get(ctx, r.url(url.Values{}), "text/event-stream")
	if err != nil {
		return err
	}
	defer done()
	body := bufio.NewReader(response.Body)
	for more := true; more; {
		m, err := readMessage(body)
		if err != nil {
			return l.lost(err)
		}
		data, err := json.Marshal(m.data)
		if err != nil {
			return err
		}
		if more, err = r.take(l, event{ID: m.id, Event: strings.TrimPrefix(m.event, "message"), Data: data}); err != nil {
			return err
		}
	}
	return nil
}

func (r *roamer) stream(ctx context.Context, l *leg) error {
	response, done, err := l.get(ctx, r.url(url.Values{}), "application/x-ndjson")
	if err != nil {
		return err
	}
	defer done()
	body := bufio.NewReader(response.Body)
	for more := true; more; {
		line, err := body.ReadBytes('\n')
		if err != nil {
			return l.lost(err) // "A line that the connection's end cut off does not count" (§5.10)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%w in %q", err, line)
		}
		if more, err = r.take(l, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *roamer) longpoll(ctx context.Context, l *leg) error {
	return r.pages(ctx, l, url.Values{"as": {"longpoll"}, "wait": {"5"}})
}

func (r *roamer) poll(ctx context.Context, l *leg) error {
	return r.pages(ctx, l, url.Values{"as": {"poll"}})
}

// pages reads page after page on one connection. After the last one it asks
// once more, and cuts the connection under the answer.
func (r *roamer) pages(ctx context.Context, l *leg, query url.Values) error {
	conn, err := l.dial(ctx, "tcp", r.host())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	answers := bufio.NewReader(conn)
	ask := func() error {
		query.Set("limit", fmt.Sprint(1+r.random.IntN(200)))
		request, err := http.NewRequest("GET", r.url(query), nil)
		if err != nil {
			return err
		}
		return request.Write(conn)
	}
	for len(r.got) < l.until {
		if err := ask(); err != nil {
			return err
		}
		if err := r.answer(answers); err != nil {
			return err
		}
	}
	if err := ask(); err != nil {
		return err
	}
	if !l.cut() {
		return nil
	}
	// A half-closed connection may be answered or not; if it is, wholly.
	switch err := r.answer(answers); {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	default:
		return err
	}
}

func (r *roamer) host() string {
	u, err := url.Parse(r.target)
	if err != nil {
		r.t.Fatal(err)
	}
	return u.Host
}

func (r *roamer) answer(answers *bufio.Reader) error {
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	var p page
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	if p.Gap != nil || p.End {
		return fmt.Errorf("page %s", body)
	}
	for _, e := range p.Events {
		r.got = append(r.got, record{e.ID, e.text()})
	}
	r.cursor = p.Cursor
	return nil
}
