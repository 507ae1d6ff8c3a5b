//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	defaultConnectTimeout = 30 * time.Second
	defaultDrainTimeout   = 5 * time.Second
	defaultSettle         = 200 * time.Millisecond
	defaultWarmup         = 200 * time.Millisecond
	defaultDuration       = 500 * time.Millisecond

	maxConnections = 1 << 20
	maxDuration    = time.Hour
)

// Options are those of every run. Zero durations have the defaults that they
// name; negative ones are none at all.
type Options struct {
	Address string // host:port of the server, which speaks plain HTTP/1.1
	Remote  bool   // allow an address that is not this machine's own
	PID     int    // of the server's process, or 0 if nothing of it is to be measured
	Loops   int    // threads of the generator. Default 1

	ConnectTimeout time.Duration // for all connections. Default 30 s
	Settle         time.Duration // between the last connection and the first message. Default 200 ms
	Warmup         time.Duration // under load, before the measuring; longer if a loop has no time before. Default 200 ms
	Duration       time.Duration // measured. Default 500 ms, at most an hour
	DrainTimeout   time.Duration // for what is under way at the end. Default 5 s
	Rest           time.Duration // between the last message and the last reading of memory. Default none
	Messages       uint64        // if not 0, the measuring ends when so many were received, if that is sooner

	// Progress, if not nil, is told about four times a second how far the run
	// is. It runs on the generator's loop and must be quick.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Stage       string // connecting, settling, warming up, measuring, draining
	Connections int    // open ones
	Messages    uint64 // that have come back, or were delivered, since measuring began
	Elapsed     time.Duration
}

func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.ConnectTimeout, defaultConnectTimeout}, {&o.Settle, defaultSettle}, {&o.Warmup, defaultWarmup},
		{&o.Duration, defaultDuration}, {&o.DrainTimeout, defaultDrainTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		*d.value = max(*d.value, 0)
	}
	o.Rest = max(o.Rest, 0)
	o.Loops = max(o.Loops, 1)
	if o.Warmup+o.Duration > maxDuration {
		return o, fmt.Errorf("a run of %v: at most %v", o.Warmup+o.Duration, maxDuration)
	}
	return o, nil
}

// resolve gives the address, if load may be put on it.
func (o Options) resolve(ctx context.Context) (address netip.AddrPort, err error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return address, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return address, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return address, err
	}
	for _, ip := range found {
		if o.Remote || ip.Unmap().IsLoopback() {
			return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
		}
	}
	return address, fmt.Errorf("%s is not on this machine: load on others needs their consent, and --remote", o.Address)
}

// A work is what the connections do. Its methods are called by the loop that
// has the connection.
type work interface {
	// prepare is called once, before the loops begin.
	prepare(r *run) error
	// request appends the request that opens c. If it is empty, c is open once
	// it is connected.
	request(dst []byte, c *conn) []byte
	// delivered takes the number of a message; intact is whether its bytes
	// were right, and with them its number.
	delivered(l *loop, c *conn, number uint64, intact bool)
	// received follows when all of what was read at once was delivered, from
	// the warm-up on.
	received(l *loop, c *conn) error
	// answered takes the answer to a request that c has sent after it was
	// opened.
	answered(l *loop, c *conn, status int) error
	// turn sends what is due, while the phase is one of load. It gives the
	// time when more is due, or 0.
	turn(l *loop) (due int64, err error)
	// drained reports whether nothing is under way on the loop's connections.
	drained(l *loop) bool
	// staged reports whether a phase of load is over before its time.
	staged(p phase) bool
	// broken takes the failure of a connection. What it returns ends the run.
	broken(l *loop, c *conn, err error) error
	// topics gives those that c is subscribed to.
	topics(c *conn) []string
	// finish counts what is missing, when all loops have ended.
	finish(r *Report)
}

// plain are the parts of a work that most do without.
type plain struct{}

func (plain) staged(phase) bool                        { return false }
func (plain) broken(_ *loop, _ *conn, err error) error { return err }
func (plain) topics(*conn) []string                    { return nil }

// plan is what a work wants of the engine.
type plan struct {
	work    work
	dialect *Dialect // nil if there are no topics
	cursors bool     // connections are to keep theirs
	streams int      // of a connection over HTTP/2
	steps   bool     // the warm-up lasts until the work says that it is over
	name    string
	vias    []Transport // one for each connection, by its number
	leading int         // so many of the first connections belong to the leading loop
	bytes   int         // of a message
	packed  bool        // messages are compressed
}

type phase int32

const (
	opening phase = iota
	settling
	warming
	measuring
	draining
	resting
	over
)

func (p phase) String() string {
	return [...]string{"connecting", "settling", "warming up", "measuring", "draining", "resting", "over"}[p]
}

// run is one run of a work, by one or several loops. The first of them leads:
// it decides on the phases.
type run struct {
	plan
	options Options
	address netip.AddrPort
	host    string // as a header field
	pattern []byte
	packed  []byte // the pattern compressed, or nil
	began   time.Time

	phase  atomic.Int32
	open   atomic.Int64 // connections
	loops  []*loop
	mu     sync.Mutex
	failed error // the first; guarded by mu

	// What follows belongs to the leading loop.
	until    int64 // when the phase ends
	measured int64 // when measuring began
	nextTell int64
	before   cpuTimes
	report   Report
}

// execute carries out a plan.
func execute(ctx context.Context, options Options, p plan) (*Report, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(p.vias) == 0 || len(p.vias) > maxConnections {
		return nil, fmt.Errorf("%d connections: at least 1, at most %d", len(p.vias), maxConnections)
	}
	if err := allowFiles(len(p.vias)); err != nil {
		return nil, err
	}
	r := &run{plan: p, options: options, host: options.Address, began: time.Now()}
	if r.address, err = options.resolve(ctx); err != nil {
		return nil, err
	}
	if r.pattern, err = newPattern(p.bytes); err != nil {
		return nil, err
	}
	if p.packed {
		r.pattern = newJSON(p.bytes) // all messages are the same: they need no number
		if r.packed, err = deflate(r.pattern); err != nil {
			return nil, err
		}
	}
	r.report = Report{Work: p.name, Connections: len(p.vias)}
	if options.PID != 0 {
		if r.report.Server.RSSBefore, err = processRSS(options.PID); err != nil {
			return nil, err
		}
	}
	r.until = int64(options.ConnectTimeout)
	if err := p.work.prepare(r); err != nil {
		return nil, err
	}
	if err := r.makeLoops(); err != nil {
		return nil, errors.Join(err, r.closeLoops())
	}
	// Each ends when the leading loop, which is ours, has said that it is
	// over. Joined below.
	var others sync.WaitGroup
	for _, l := range r.loops[1:] {
		others.Go(func() { l.work(ctx) })
	}
	r.loops[0].work(ctx)
	others.Wait()
	for _, l := range r.loops {
		l.tally.addTo(&r.report)
	}
	p.work.finish(&r.report)
	if err := r.closeLoops(); err != nil {
		r.fail(err)
	}
	return &r.report, r.failed
}

// allowFiles raises the limit of open files as far as is needed and allowed.
func allowFiles(connections int) error {
	const others = 64 // files of the process beside the connections
	need := uint64(connections + others)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Max < need {
		return fmt.Errorf("%d connections need %d open files, and each process may have %d here: allow more (ulimit -Hn %[2]d, as root, before this), or take fewer connections", connections, need, limit.Max)
	}
	if limit.Cur < need {
		limit.Cur = need
		return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	return nil
}

func (r *run) makeLoops() error {
	shares := make([][]*conn, r.options.Loops)
	for number, via := range r.vias {
		owner := 0
		if number >= r.leading {
			owner = number % len(shares)
		}
		shares[owner] = append(shares[owner], &conn{fd: -1, number: number, slot: int32(len(shares[owner])), via: via})
	}
	for i, share := range shares {
		l := &loop{run: r, leads: i == 0, conns: share, inflated: map[string]bool{}}
		l.gather(r.streams)
		r.loops = append(r.loops, l)
		if err := l.open(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) closeLoops() error {
	var errs []error
	for _, l := range r.loops {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

func (r *run) now() int64 { return int64(time.Since(r.began)) }

// fail ends the run.
func (r *run) fail(err error) {
	r.mu.Lock()
	if r.failed == nil {
		r.failed = err
	}
	r.mu.Unlock()
	r.phase.Store(int32(over))
}

// lead goes from phase to phase.
func (r *run) lead(l *loop) {
	if r.options.Progress != nil && l.now >= r.nextTell {
		r.nextTell = l.now + int64(250*time.Millisecond)
		r.tell(l)
	}
	done := l.now >= r.until
	switch l.phase {
	case opening:
		if int(r.open.Load()) == len(r.vias) {
			r.enter(l, settling, r.options.Settle)
		} else if done {
			r.fail(fmt.Errorf("%d of %d connections are open after %v", r.open.Load(), len(r.vias), r.options.ConnectTimeout))
		}
	case settling:
		if done {
			r.readRSS(&r.report.Server.RSSConnected)
			runtime.GC() // now rather than later
			r.enter(l, warming, r.options.Warmup)
		}
	case warming:
		if r.steps {
			if done {
				r.fail(fmt.Errorf("the subscribers were not ready after %v", r.options.Warmup))
			}
			done = r.work.staged(warming)
		}
		if done && !slices.ContainsFunc(r.loops, func(l *loop) bool { return !l.loaded.Load() }) {
			r.before = r.readCPU()
			r.enter(l, measuring, r.options.Duration)
			r.measured = l.now
		}
	case measuring:
		if done || r.work.staged(measuring) || r.options.Messages > 0 && r.seen() >= r.options.Messages {
			after := r.readCPU()
			r.report.Elapsed = time.Duration(r.now() - r.measured)
			r.report.Server.CPU = after.server - r.before.server
			r.report.Generator = after.generator - r.before.generator
			r.report.Other = after.machine - r.before.machine - r.report.Server.CPU - r.report.Generator
			r.enter(l, draining, r.options.DrainTimeout)
		}
	case draining:
		if done || !slices.ContainsFunc(r.loops, func(l *loop) bool { return !l.quiet.Load() }) {
			r.enter(l, resting, r.options.Rest)
		}
	case resting:
		if done {
			r.readRSS(&r.report.Server.RSSAfter)
			r.enter(l, over, 0)
		}
	}
}

func (r *run) enter(l *loop, p phase, d time.Duration) {
	l.now = r.now()
	r.until = l.now + int64(d)
	if r.phase.CompareAndSwap(int32(l.phase), int32(p)) { // else it has failed meanwhile
		l.phase = p
	}
}

func (r *run) readRSS(to *int64) {
	if r.options.PID == 0 {
		return
	}
	var err error
	if *to, err = processRSS(r.options.PID); err != nil {
		r.fail(err)
	}
}

func (r *run) readCPU() cpuTimes {
	t, err := readCPU(r.options.PID)
	if err != nil {
		r.fail(err)
	}
	return t
}

func (r *run) tell(l *loop) {
	r.options.Progress(Progress{l.phase.String(), int(r.open.Load()), r.seen(), time.Duration(l.now)})
}

// seen gives the messages that were received since measuring began.
func (r *run) seen() (messages uint64) {
	for _, l := range r.loops {
		messages += l.seen.Load()
	}
	return messages
}
