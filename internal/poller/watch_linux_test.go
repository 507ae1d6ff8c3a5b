package poller

import (
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// recorder notes what a handler is told.
type recorder struct {
	data   int
	alarms int
	closed []error
}

func (r *recorder) Data(_ *Conn, p []byte)    { r.data += len(p) }
func (r *recorder) Drained(*Conn)             {}
func (r *recorder) Alarm(*Conn)               { r.alarms++ }
func (r *recorder) HalfClosed(*Conn) bool     { return false }
func (r *recorder) Closed(_ *Conn, err error) { r.closed = append(r.closed, err) }

// over tells the error of the end, if it has come.
func (r *recorder) over() (err error, ok bool) {
	if len(r.closed) == 0 {
		return nil, false
	}
	return r.closed[0], true
}

// bench is a loop without a goroutine, whose clock the test sets.
type bench struct {
	t      *testing.T
	loop   *loop
	conn   *Conn
	told   *recorder
	client *net.TCPConn
}

func newBench(t *testing.T, limits *Limits) *bench {
	t.Helper()
	p := &Poller{started: time.Now()}
	l, err := newLoop(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	p.since = func() time.Duration { return time.Duration(l.now-1) * Resolution }
	p.loops = []*loop{l}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, loop: l, told: &recorder{}, client: client}
	if b.conn, err = p.Adopt(server, b.told, limits, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.conn.Abort()
		l.obey()
	})
	if err := b.conn.Start(); err != nil {
		t.Fatal(err)
	}
	b.at(1)
	return b
}

// at has the loop take a turn at that tick, which is the present one until the
// next call.
func (b *bench) at(tick uint32) {
	b.loop.now = tick
	b.loop.obey()
	b.loop.watch()
}

// endsAt checks that the connection ends with err at one of the ticks, which
// are counted from now, and not before.
func (b *bench) endsAt(after, before uint32, want error) {
	b.t.Helper()
	start := b.loop.now
	for tick := uint32(1); tick <= before; tick++ {
		b.at(start + tick)
		if err, ok := b.told.over(); ok {
			if tick < after || err != want || len(b.told.closed) != 1 {
				b.t.Fatalf("after %d ticks: closed %d times with %v, want %v after %d to %d", tick, len(b.told.closed), err, want, after, before)
			}
			return
		}
	}
	b.t.Fatalf("still open after %d ticks", before)
}

// A time limit of d must hold for d, and may take two grains more.
func TestIdle(t *testing.T) {
	for _, d := range []time.Duration{1, Resolution, 15 * Resolution / 10, 37500 * time.Millisecond, 10 * time.Minute} {
		b := newBench(t, nil)
		b.conn.SetIdle(d)
		b.at(b.loop.now)
		grains := uint32((d + Resolution - 1) / Resolution)
		b.endsAt(grains+1, grains+2, ErrIdle)
	}
}

// Whatever arrives makes it last for another term.
func TestIdleReceives(t *testing.T) {
	b := newBench(t, nil)
	b.conn.SetIdle(10 * Resolution)
	b.at(b.loop.now)
	for range 20 {
		b.at(b.loop.now + 9)
		if err, ok := b.told.over(); ok {
			t.Fatal(err)
		}
		if _, err := b.client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		b.waitFor(unix.POLLIN)
		b.loop.serve(b.conn, unix.EPOLLIN)
	}
	if b.told.data != 20 {
		t.Errorf("%d bytes arrived", b.told.data)
	}
	b.endsAt(11, 12, ErrIdle)
}

// waitFor waits until the server's side can be read from, or written to.
func (b *bench) waitFor(events int16) {
	b.t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: b.conn.fd, Events: events}}, 60_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			b.t.Fatal(n, err)
		}
		return
	}
}

// A peer that has not read everything yet is asked to be quick, not to speak.
func TestIdleWhilePending(t *testing.T) {
	b := newBench(t, &Limits{WriteTimeout: -1})
	b.conn.SetIdle(10 * Resolution)
	b.at(b.loop.now)
	for pending := 0; pending == 0; {
		var err error
		if pending, err = b.conn.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		b.at(b.loop.now + 1)
	}
	if err, ok := b.told.over(); ok {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, b.client) // ends with the connection
	for drained := false; !drained; {
		b.waitFor(unix.POLLOUT)
		b.loop.serve(b.conn, unix.EPOLLOUT)
		drained = b.conn.backlog == nil
	}
	b.endsAt(11, 12, ErrIdle)
}

// A connection that is not read is not idle.
func TestIdlePaused(t *testing.T) {
	b := newBench(t, nil)
	b.conn.SetIdle(10 * Resolution)
	b.conn.Pause(nil)
	b.at(b.loop.now)
	for range 100 {
		b.at(b.loop.now + 1)
	}
	if err, ok := b.told.over(); ok {
		t.Fatal(err)
	}
	b.conn.Resume()
	b.at(b.loop.now)
	b.endsAt(11, 12, ErrIdle)
}

func TestAlarm(t *testing.T) {
	b := newBench(t, nil)
	start := b.loop.now
	b.conn.SetAlarm(100 * Resolution)
	b.at(start)
	b.conn.SetAlarm(20 * Resolution) // replaces it
	for tick := start; tick <= start+500; tick++ {
		b.at(tick)
		if early := tick < start+20; early && b.told.alarms != 0 {
			t.Fatalf("%d alarms after %d ticks", b.told.alarms, tick-start)
		}
	}
	if b.told.alarms != 1 {
		t.Errorf("%d alarms, want 1", b.told.alarms)
	}
	b.conn.SetAlarm(Resolution)
	b.conn.SetAlarm(0) // removes it
	b.at(b.loop.now)
	b.at(b.loop.now + 100)
	if b.told.alarms != 1 {
		t.Errorf("%d alarms after it was removed", b.told.alarms)
	}
}

func TestStalled(t *testing.T) {
	b := newBench(t, &Limits{WriteTimeout: 30 * Resolution})
	start := b.loop.now
	pending, err := b.conn.Write(make([]byte, 16<<20))
	if pending == 0 || err != nil {
		t.Fatal(pending, err)
	}
	b.at(start + 29)
	// The peer reads: that begins a new term.
	if _, err := io.CopyN(io.Discard, b.client, int64(16<<20-pending)); err != nil {
		t.Fatal(err)
	}
	b.waitFor(unix.POLLOUT)
	b.loop.serve(b.conn, unix.EPOLLOUT)
	b.at(start + 31)
	if err, ok := b.told.over(); ok {
		t.Fatal(err)
	}
	b.endsAt(29, 31, ErrStalled)
}

func TestCloseTimeout(t *testing.T) {
	b := newBench(t, &Limits{CloseTimeout: 30 * Resolution})
	b.conn.Close()
	b.at(b.loop.now)
	b.endsAt(29, 32, net.ErrClosed)
}

// The wheel gives what is due, all of it, and nothing before its tick.
func TestWheel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	conns := make([]*Conn, 50)
	for i := range conns[1:] {
		conns[1+i] = &Conn{slot: int32(1 + i)}
	}
	w := wheel{slots: &conns}
	want := make(map[*Conn]uint32)
	now := uint32(1)
	for range 20000 {
		c := conns[1+r.IntN(len(conns)-1)]
		switch r.IntN(4) {
		case 0, 1:
			w.put(c, now+1+r.Uint32N(2*span), now)
			if want[c] = c.due; c.due <= now || c.due > now+span {
				t.Fatalf("filed under %d at %d", c.due, now)
			}
		case 2:
			w.remove(c)
			delete(want, c)
		case 3:
			now += r.Uint32N(1 << r.IntN(10))
			for c := w.take(now); c != nil; c = w.take(now) {
				if due, ok := want[c]; !ok || due > now {
					t.Fatalf("taken at %d, due %d, %v", now, due, ok)
				}
				delete(want, c)
			}
			for _, due := range want {
				if due <= now {
					t.Fatalf("not taken at %d, due %d", now, due)
				}
			}
		}
		soonest := uint32(0)
		for _, due := range want {
			if soonest == 0 || due < soonest {
				soonest = due
			}
		}
		if got := w.soonest(); got != soonest {
			t.Fatalf("soonest %d, want %d", got, soonest)
		}
	}
}
