//go:build unix

package jetlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/duplexhq/duplex/topic"
)

// proxy is the network between a node and its server.
type proxy struct {
	listener net.Listener
	to       string
	delay    time.Duration
	wg       sync.WaitGroup

	mu    sync.Mutex
	pass  *sync.Cond // guarded by mu, as what follows
	cut   bool       // nothing goes through, and no end knows
	deaf  string     // the address of a client that nothing goes to, if it is not ""
	ended bool
	conns []net.Conn
}

func newProxy(t *testing.T, s *server.Server, delay time.Duration) *proxy {
	t.Helper()
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: u.Host, delay: delay}
	p.pass = sync.NewCond(&p.mu)
	p.wg.Go(p.accept) // ends with the listener; joined below
	t.Cleanup(func() {
		l.Close()
		p.set(func() {
			p.ended = true
			for _, c := range p.conns {
				c.Close()
			}
		})
		p.wg.Wait()
	})
	return p
}

func (p *proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.pass.Broadcast()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.set(func() { p.conns = append(p.conns, in, out) })
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			type packet struct {
				data []byte
				due  time.Time
			}
			packets := make(chan packet, 1<<16)
			p.wg.Go(func() { // ends with its connection
				defer close(packets)
				for {
					b := make([]byte, 64<<10)
					n, err := way[0].Read(b)
					if err != nil {
						return
					}
					packets <- packet{b[:n], time.Now().Add(p.delay)}
				}
			})
			p.wg.Go(func() { // ends with the other
				defer in.Close()
				defer out.Close()
				for one := range packets {
					time.Sleep(time.Until(one.due))
					p.mu.Lock()
					for (p.cut || way[1] == in && p.deaf == in.RemoteAddr().String()) && !p.ended {
						p.pass.Wait()
					}
					p.mu.Unlock()
					if _, err := way[1].Write(one.data); err != nil {
						break
					}
				}
				for range packets { // so that the reader ends
				}
			})
		}
	}
}

func (p *proxy) options(n *NATS) *NATS {
	through := *n
	through.URL = "nats://" + p.listener.Addr().String()
	return &through
}

// A node for which the server is far away gets its turn.
func TestFarNode(t *testing.T) {
	t.Parallel()
	s := natsServer(t, t.TempDir(), -1)
	n := newStream(s)
	near := openAt(t, &Options{NATS: n})
	defer near.Close()
	far := openAt(t, &Options{NATS: newProxy(t, s, 5*time.Millisecond).options(n)})
	defer far.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var appends atomic.Int64
	for range 16 {
		wg.Go(func() {
			for !isDone(stop) {
				if _, err := near.Append(context.Background(), "near", draft128, topic.Key{}); err != nil {
					t.Error(err)
					return
				}
				appends.Add(1)
			}
		})
	}
	var longest time.Duration
	for i := range 20 {
		begun := time.Now()
		appendText1(t, far, "far", fmt.Sprint(i))
		longest = max(longest, time.Since(begun))
	}
	close(stop)
	wg.Wait()
	t.Logf("meanwhile %d from near; longest append from far %v", appends.Load(), longest)
}

// A node is cut off from its server, without a word, while others go on. Then
// it has all that they have, also what came last.
func TestNodeCutOff(t *testing.T) {
	t.Parallel()
	s := natsServer(t, t.TempDir(), -1)
	n := newStream(s)
	p := newProxy(t, s, 0)
	a, b := openAt(t, &Options{NATS: n}), openAt(t, &Options{NATS: p.options(n)})
	defer a.Close()
	defer b.Close()
	views := []*watched{watch(a), watch(b)}
	o := startLoad(t, []*Log{a, b}, 4)
	for range 2 {
		o.more(t, 500)
		p.set(func() { p.cut = true })
		until(t, "the node notices it", func() bool { return b.Ready() != nil })
		p.set(func() { p.cut = false })
	}
	o.more(t, 100)
	o.check(t, n, views)
}

// A message that comes back to its node before its acknowledgement is not taken for
// another node's, however late the watcher of the log is done with it: it would be
// stored once more.
func TestAcknowledgementLate(t *testing.T) {
	t.Parallel()
	s := natsServer(t, t.TempDir(), -1)
	n := newStream(s)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	published, err := nc.SubscribeSync("duplex." + n.Stream + logSubject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, s, 0)
	l := openAt(t, &Options{NATS: p.options(n)})
	defer l.Close()
	var watched []string
	l.Watch(func(entries []*topic.Entry) {
		watched = append(watched, texts(entries))
		for range 2 { // it was sent, and once more
			if _, err := published.NextMsg(time.Minute); err != nil && len(watched) == 1 {
				t.Error(err)
			}
		}
	})
	p.set(func() { p.deaf = l.remote.stream.writes.LocalAddr() })
	appendText1(t, l, "a", "1")
	if l.End().Seq != 1 || !slices.Equal(watched, []string{"[1]"}) {
		t.Errorf("the log ends with %v, watched %v", l.End(), watched)
	}
}

// What the server does not republish, a node fetches.
func TestNothingRepublished(t *testing.T) {
	t.Parallel()
	n := newStream(natsServer(t, t.TempDir(), -1))
	a, b := openAt(t, &Options{NATS: n}), openAt(t, &Options{NATS: n})
	defer a.Close()
	defer b.Close()
	config := a.remote.stream.config()
	config.RePublish = nil
	if _, err := a.remote.stream.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	view := watch(b)
	for i := range 100 {
		appendText1(t, a, "a", fmt.Sprint(i))
	}
	if got := view.wait(t, 100); string(got[99].Data) != "99" || len(got) != 100 {
		t.Errorf("%d entries, the last is %s", len(got), got[99].Data)
	}
}

// A node that was away for so long that the stream no longer has what it missed
// stops: it could not tell its watcher.
func TestNodeAwayTooLong(t *testing.T) {
	t.Parallel()
	s := natsServer(t, t.TempDir(), -1)
	n := newStream(s)
	p := newProxy(t, s, 0)
	a, b := openAt(t, &Options{NATS: n, Bounds: topic.Bounds{RetainEvents: 1}}), openAt(t, &Options{NATS: p.options(n), Bounds: topic.Bounds{RetainEvents: 1}})
	defer a.Close()
	defer b.Close()
	appendText1(t, b, "a", "0")
	p.set(func() { p.cut = true })
	for i := range 10 {
		appendText1(t, a, "a", fmt.Sprint(i+1))
	}
	until(t, "the node is away", func() bool { return b.Ready() != nil }) // else what is on its way to it comes after all
	for i := range 10 {
		appendText1(t, a, "a", fmt.Sprint(i+11))
	}
	until(t, "its connection has ended", func() bool { return !b.remote.stream.reads.IsConnected() })
	if err := a.purgeShared(t.Context(), a.needed()); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.cut = false })
	until(t, "the node stops", func() bool { return errors.Is(b.Ready(), ErrFailed) })
	if page, err := b.Newest(t.Context(), []topic.Pattern{pattern1(t, "a")}, topic.Limit{Events: 1}); err != nil || len(page.Entries) != 1 {
		t.Errorf("it cannot be read: %v", err)
	}
}

// A server that is far away takes its time to be connected to.
func TestServerFarAway(t *testing.T) {
	t.Parallel()
	s := natsServer(t, t.TempDir(), -1)
	p := newProxy(t, s, 50*time.Millisecond)
	n := newStream(s)
	n.URL, n.firstDial = "nats://"+p.listener.Addr().String(), 20*time.Millisecond
	var waited atomic.Bool
	logger := slog.New(logHook(func(message string) {
		if message == "waiting for NATS" {
			waited.Store(true)
		}
	}))
	l := openAt(t, &Options{NATS: n, Logger: logger})
	defer l.Close()
	if appendText1(t, l, "a", "1"); !waited.Load() {
		t.Error("nobody is told that there is no connection")
	}
}
