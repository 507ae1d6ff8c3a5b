//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// A clusterReader reads a topic, or some by a pattern, with one cursor. With
// every request it goes to another node, and after a while to another transport.
type clusterReader struct {
	x      *clusterTest
	name   string // of the topic, or the pattern
	wants  func(topic int) bool
	random *rand.Rand
	node   int
	cursor string
	last   uint64 // sequence number of the newest event
	got    []clusterEntry
	legs   map[string]int
	kind   atomic.Int64
	trace  []string

	until    atomic.Uint64 // sequence number of the last event that is to come; 0 if that is not known
	complete atomic.Bool
}

func newClusterReader(x *clusterTest, number int) *clusterReader {
	r := &clusterReader{x: x, node: number, cursor: x.origin, random: rand.New(rand.NewPCG(uint64(number), 1)), legs: make(map[string]int)}
	topic := number * 3 % clusterTopics
	if number%8 == 7 {
		r.name = fmt.Sprintf("cluster/*/%d", topic%10)
		r.wants = func(n int) bool { return n%10 == topic%10 }
	} else {
		r.name = clusterTopic(topic)
		r.wants = func(n int) bool { return n == topic }
	}
	r.kind.Store(int64(number))
	return r
}

// entry makes an entry of what came.
func (x *clusterTest) entry(e event) (clusterEntry, error) {
	var entry clusterEntry
	var err error
	if entry.seq, err = x.sequence(e.ID); err != nil {
		return entry, err
	}
	if entry.event, err = parseClusterEvent(e.text()); err != nil {
		return entry, err
	}
	w, n := entry.event.split()
	if w >= len(x.writers) {
		return entry, fmt.Errorf("publisher %d", w)
	}
	if entry.topic = x.writers[w].topic(n); e.Topic != clusterTopic(entry.topic) {
		return entry, fmt.Errorf("event %d of publisher %d is on topic %s", n, w, e.Topic)
	}
	return entry, nil
}

// The transports, and how one of them reads for a while.
var clusterLegs = []string{"poll", "longpoll", "sse", "stream", "websocket", "websocket with envelopes", "duplex.v1"}

func (r *clusterReader) leg(ctx context.Context, kind string) error {
	switch kind {
	case "poll":
		return r.poll(ctx)
	case "longpoll":
		return r.longpoll(ctx)
	case "sse":
		return r.sse(ctx)
	case "stream":
		return r.stream(ctx)
	case "websocket":
		return r.raw(ctx)
	case "websocket with envelopes":
		return r.envelopes(ctx)
	default:
		return r.protocol(ctx)
	}
}

func (r *clusterReader) kindNow() string {
	return clusterLegs[r.kind.Load()%int64(len(clusterLegs))]
}

func (r *clusterReader) run() {
	for !r.done() {
		kind := r.kindNow()
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond+time.Duration(r.random.IntN(3000))*time.Millisecond)
		err := r.leg(ctx, kind)
		over := ctx.Err() != nil
		cancel()
		if _, ok := errors.AsType[*wrongError](err); ok {
			r.x.Errorf("subscriber of %s by %s after %s: %v", r.name, kind, r.cursor, err)
			r.x.Log(strings.Join(r.trace, "\n"))
			return
		}
		if err != nil && !over {
			r.x.now.Load().broken.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
		r.legs[kind]++
		r.kind.Add(1)
	}
}

// expect says what is to come.
func (r *clusterReader) expect(log []clusterEntry) {
	for _, e := range slices.Backward(log) {
		if r.wants(e.topic) {
			r.until.Store(e.seq)
			return
		}
	}
	r.complete.Store(true)
}

// done reports whether there is nothing more to read.
func (r *clusterReader) done() bool {
	if last := r.until.Load(); last != 0 && r.last >= last {
		r.complete.Store(true)
	}
	select {
	case <-r.x.stopped:
		return true
	default:
		return r.complete.Load()
	}
}

// check compares what came with the log.
func (r *clusterReader) check(number int, log []clusterEntry) {
	i := 0
	for _, e := range log {
		if !r.wants(e.topic) {
			continue
		}
		if i >= len(r.got) || r.got[i] != e {
			r.x.Errorf("subscriber %d of %s lacks %v, or got it elsewhere", number, r.name, e)
			return
		}
		i++
	}
	if i < len(r.got) {
		r.x.Errorf("subscriber %d of %s got %d events, and %d were published", number, r.name, len(r.got), i)
	}
}

// take accepts an event or a signal.
func (r *clusterReader) take(e event) error {
	switch {
	case e.Event == "$gap" || e.Event == "$end":
		return wrong("%s %s", e.Event, e.Data)
	case e.isSignal():
	default:
		entry, err := r.x.entry(e)
		if err != nil {
			return wrong("%v", err)
		}
		if err := r.add(entry); err != nil {
			return err
		}
		r.met(entry.event)
	}
	if e.ID != "" {
		r.cursor = e.ID
	}
	r.log("%s %s", e.Event, e.ID)
	return nil
}

// log notes what happened last, for whoever has to find out why it was wrong.
func (r *clusterReader) log(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprint(r.x.since(), " ")+fmt.Sprintf(format, args...))
	r.trace = r.trace[max(0, len(r.trace)-40):]
}

func (r *clusterReader) add(entry clusterEntry) error {
	r.log("add %v", entry)
	if entry.seq <= r.last {
		return wrong("%v comes after number %d", entry, r.last)
	}
	r.last = entry.seq
	r.got = append(r.got, entry)
	return nil
}

// met measures how long an event took.
func (r *clusterReader) met(e clusterEvent) {
	w, n := e.split()
	p, took := r.x.now.Load(), r.x.since()-r.x.writers[w].first(n)
	p.delivered.Add(int64(took))
	p.deliveredN.Add(1)
	if longest(&p.delivering, took) {
		p.slowestReader.Store(new(r.kindNow()))
	}
}

// base is the URL of the next node.
func (r *clusterReader) base() string {
	r.node++
	node := r.node % len(r.x.bases)
	r.log("%s from node %d after %v", r.kindNow(), node, r.cursor)
	return r.x.bases[node]
}

func (r *clusterReader) url(query url.Values) string {
	query.Set("after", r.cursor)
	return topicURL(r.base(), r.name) + "?" + query.Encode()
}

func (r *clusterReader) get(ctx context.Context, query url.Values, accept string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", r.url(query), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	response, err := r.x.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		return nil, wrong("%s: %s", response.Status, body)
	}
	return nil, fmt.Errorf("%s", body)
}

func (r *clusterReader) poll(ctx context.Context) error {
	return r.pages(ctx, url.Values{"as": {"poll"}}, 200*time.Millisecond)
}

func (r *clusterReader) longpoll(ctx context.Context) error {
	return r.pages(ctx, url.Values{"as": {"longpoll"}, "wait": {"2"}}, 0)
}

func (r *clusterReader) pages(ctx context.Context, query url.Values, pause time.Duration) error {
	for ctx.Err() == nil && !r.done() {
		response, err := r.get(ctx, query, "application/json")
		if err != nil {
			return err
		}
		var p page
		err = json.NewDecoder(response.Body).Decode(&p)
		response.Body.Close()
		switch {
		case err != nil:
			return err
		case p.Gap != nil || p.End:
			return wrong("gap %s, end %v", p.Gap, p.End)
		}
		for _, e := range p.Events {
			if err := r.take(e); err != nil {
				return err
			}
		}
		r.cursor = p.Cursor
		r.log("page up to %v", p.Cursor)
		if !p.More {
			time.Sleep(pause)
		}
	}
	return nil
}

func (r *clusterReader) sse(ctx context.Context) error {
	response, err := r.get(ctx, url.Values{"envelope": {""}}, "text/event-stream")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for body := bufio.NewReader(response.Body); !r.done(); {
		m, err := readMessage(body)
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || e.ID != m.id {
			return wrong("%v: %q of %q", err, m.data, m.id)
		}
		if err := r.take(e); err != nil {
			return err
		}
	}
	return nil
}

func (r *clusterReader) stream(ctx context.Context) error {
	response, err := r.get(ctx, url.Values{}, "application/x-ndjson")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for body := bufio.NewReader(response.Body); !r.done(); {
		line, err := body.ReadBytes('\n')
		if err != nil {
			return err
		}
		if err := r.takeJSON(line); err != nil {
			return err
		}
	}
	return nil
}

func (r *clusterReader) takeJSON(text []byte) error {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return wrong("%v in %q", err, text)
	}
	return r.take(e)
}

func (r *clusterReader) dial(ctx context.Context, target, subprotocol string) (*websocket.Conn, error) {
	opts := new(websocket.DialOptions)
	if subprotocol != "" {
		opts.Subprotocols = []string{subprotocol}
	}
	conn, _, err := websocket.Dial(ctx, strings.Replace(target, "http:", "ws:", 1), opts)
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok && refused.Status != http.StatusServiceUnavailable && refused.Status != 0 {
		return nil, wrong("%v", err)
	}
	return conn, err
}

// closed tells whether a connection may have ended in this way.
func closed(err error) error {
	if e, ok := errors.AsType[*websocket.CloseError](err); ok && e.Remote {
		switch e.Code {
		case websocket.CloseGoingAway, websocket.CloseInternalError:
		default:
			return wrong("%v", err)
		}
	}
	return err
}

func (r *clusterReader) envelopes(ctx context.Context) error {
	conn, err := r.dial(ctx, r.url(url.Values{"envelope": {""}}), "")
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	for !r.done() {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return closed(err)
		}
		if err := r.takeJSON(text); err != nil {
			return err
		}
	}
	return nil
}

// raw gets data without ids. Those of the last one, to go on with, its
// publisher has got.
func (r *clusterReader) raw(ctx context.Context) (err error) {
	conn, err := r.dial(ctx, r.url(url.Values{}), "")
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	var events []clusterEvent
	for !r.done() && err == nil {
		var data []byte
		if _, data, err = conn.Read(ctx); err != nil {
			err = closed(err)
			break
		}
		event, bad := parseClusterEvent(string(data))
		if w, _ := event.split(); bad != nil || w >= len(r.x.writers) {
			return wrong("%q: %v", data, bad)
		}
		r.met(event)
		events = append(events, event)
	}
	for _, event := range events {
		w, n := event.split()
		seq := uint64(0)
		if !eventually(func() bool {
			seq = r.x.writers[w].seq(n)
			return seq != 0 || isClosed(r.x.stop)
		}) {
			return wrong("event %d of publisher %d came, and was not acknowledged", n, w)
		}
		if seq == 0 {
			return nil // and nobody knows: it comes again
		}
		entry := clusterEntry{seq, event, r.x.writers[w].topic(n)}
		if err := r.add(entry); err != nil {
			return err
		}
		r.cursor = fmt.Sprintf("%s-%d", r.x.epoch, seq)
	}
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (r *clusterReader) protocol(ctx context.Context) error {
	base := r.base()
	conn, err := r.dial(ctx, base+"/topics", "duplex.v1")
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	op, err := json.Marshal(map[string]any{"op": "subscribe", "topic": r.name, "after": r.cursor, "ref": 1})
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.Text, op); err != nil {
		return closed(err)
	}
	for subscribed := false; !r.done(); {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return closed(err)
		}
		if !bytes.HasPrefix(text, []byte(`{"op":`)) {
			if !subscribed {
				continue // a $ping, of no subscription
			}
			if err := r.takeJSON(text); err != nil {
				return err
			}
			continue
		}
		var answer struct {
			Op, ID string
			Status int
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return wrong("%v in %s", err, text)
		}
		switch {
		case answer.Op == "ok" && answer.ID == r.cursor:
			subscribed = true
		case cmp.Or(answer.Status, http.StatusServiceUnavailable) == http.StatusServiceUnavailable:
			return fmt.Errorf("%s", text)
		default:
			return wrong("%s", text)
		}
	}
	return nil
}
