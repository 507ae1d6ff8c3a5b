package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/server"
	"github.com/duplexhq/duplex/topic"
)

var (
	tortureFor  = flag.Duration("torture", 4*time.Second, "how long TestTorture goes on")
	tortureSeed = flag.Uint64("torture.seed", 0, "the only round of TestTorture, again and again; 0 for random ones")
)

// TestTorture lets publishers and subscribers use a server over TCP in all the
// ways that there are, and treat their connections as badly as clients and
// networks do. Then it proves, with the whole log at hand, that everybody was
// given what PROTOCOL.md promises: the events of each subscription in order,
// once and intact, none missing but those that a gap named. A seed decides what
// everybody wants, and the kernel and the scheduler when: a failure may take
// some repetitions. Every other round keeps all events, so that there is no gap.
// One in three has the log on the disk, one in three is over TLS, and by HTTP/2, too,
// and in every other one some topics are batched.
func TestTorture(t *testing.T) {
	authority = filepath.Join(t.TempDir(), "ca")
	newTorture(t, 0, make(map[string]int)).warmUp()
	counts := make(map[string]int)
	rounds := 0
	for begun := time.Now(); rounds < 2 || time.Since(begun) < *tortureFor; rounds++ {
		seed := *tortureSeed
		if seed == 0 {
			// The lowest bits say what the round is like.
			if seed = rand.Uint64()&^7 | uint64(rounds&7); rounds < 2 {
				seed |= smallRound
			}
		}
		if newTorture(t, seed, counts).run(); t.Failed() {
			t.Fatalf("after %d rounds; repeat with -torture.seed=%d", rounds, seed)
		}
	}
	t.Logf("%d rounds: %v", rounds, counts)
	for _, what := range []string{
		string(asSSE), string(asStream), string(asLongpoll), string(asPoll), string(asRaw), string(asOps), "moving duplex.v1",
		"events", string(gapped), string(ended), string(pinged), string(paged),
	} {
		if counts[what] == 0 && *tortureSeed == 0 {
			t.Errorf("no %s: the test proves little", what)
		}
	}
}

// What the bits of a seed mean.
const (
	keepingRound = 1 << iota // nothing is lost
	patientRound             // the server has no reason to hang up; with keepingRound the opposite
	abruptRound              // the server stops in the middle of everything
	smallRound               // for those who have not much time
)

const (
	tortureRoamers    = 120 // in a round that is not small, as the following
	tortureMovers     = 40
	torturePublishers = 6
	tortureSteps      = 40                     // of a publisher
	torturePause      = 40 * time.Millisecond  // between two things, at most
	tortureStall      = 300 * time.Millisecond // of a reader, at most
	tortureLife       = 900 * time.Millisecond // of a connection, at most

	// tortureHold is how much longer some long-polls are held: so long that the
	// server keeps them in another way.
	tortureHold = 2 * time.Second

	// torturePatience is how long a round may take on a slow machine: some take 40 s
	// of its time under the race detector.
	torturePatience = 10 * time.Minute
)

// A torture is one round.
type torture struct {
	*testing.T
	rng      *rand.Rand // the conductor's; everybody else has its own
	seed     uint64
	actors   uint64
	retain   int           // events of each topic
	ping     time.Duration // interval
	patient  bool          // the server has no reason to hang up
	abrupt   bool          // it stops in the middle of everything
	durable  bool          // the log is on the disk
	secure   bool          // over TLS
	batch    time.Duration // of some topics; 0 is none
	roamers  int           // how many there are
	movers   int
	steps    int // of each publisher
	topics   []string
	patterns []string // topics, too
	seldom   []string // topics and patterns of little or nothing
	parsed   map[string]topic.Pattern

	server   *server.Server
	address  string
	tls      *tls.Config // of clients, if it is secure
	gateway  *gateway    // then
	epoch    uint64
	witness  *witness
	deadline time.Time
	calm     chan struct{} // closed when nothing is published any more
	truth    *truth        // up to then
	stopping atomic.Bool   // the server is about to stop, or has
	overdue  bool          // and that was not in time
	catching sync.WaitGroup
	faults   atomic.Int64
	log      said // by the server

	mu          sync.Mutex
	drafts      []*draft       // by token; guarded by mu, as what follows
	sessions    []session      // of publishers
	subscribers []*subscriber  // all
	cursors     []string       // some that were told
	counts      map[string]int // what happened how often
}

func newTorture(t *testing.T, seed uint64, counts map[string]int) *torture {
	x := &torture{T: t, seed: seed, counts: counts, calm: make(chan struct{}), deadline: time.Now().Add(torturePatience)}
	x.rng = x.actor()
	x.retain = 1_000_000
	if seed&keepingRound == 0 {
		x.retain = 1 + x.rng.IntN(30)
	}
	// So the first two rounds are one of each kind.
	x.ping, x.patient = 30*time.Second, (seed&keepingRound != 0) != (seed&patientRound != 0)
	if !x.patient {
		x.ping = 200*time.Millisecond + time.Duration(x.rng.Int64N(int64(time.Second)))
	}
	x.abrupt = seed&abruptRound != 0
	x.roamers, x.movers, x.steps = tortureRoamers, tortureMovers, tortureSteps
	if seed&smallRound != 0 {
		x.roamers, x.movers, x.steps = tortureRoamers/3, tortureMovers/3, tortureSteps/2
	}
	kind := x.actor() // so that what else a seed says stays the same
	x.durable, x.secure = kind.IntN(3) == 0, kind.IntN(3) == 0
	if kind.IntN(2) == 0 {
		x.batch = time.Duration(1 + kind.IntN(int(20*time.Millisecond)))
	}
	x.parsed = make(map[string]topic.Pattern)
	for _, root := range []string{"a", "b", "c", "ü &?#+;%"} {
		x.topics = append(x.topics, root)
		for i := range 4 {
			x.topics = append(x.topics, fmt.Sprintf("%s/%d", root, i), fmt.Sprintf("%s/%d/x", root, i))
		}
	}
	for i := range 8 {
		x.topics = append(x.topics, fmt.Sprintf("end/%d", i))
	}
	x.seldom = []string{"never", "end/never", "$s/*", "seldom/*", "*/1/y", "seldom/0", "seldom/1/y"}
	x.patterns = slices.Concat(x.topics, x.seldom, []string{
		"**", "*", "a/*", "a/**", "*/1", "*/*/x", "b/**", "c/2/*", "end/*", "end/**",
	})
	for _, name := range x.patterns {
		p, err := topic.ParsePattern(name)
		if err != nil {
			t.Fatal(err)
		}
		x.parsed[name] = p
	}
	return x
}

func (x *torture) actor() *rand.Rand {
	x.actors++
	return rand.New(rand.NewPCG(x.seed, x.actors))
}

// smallBuffers is a listener whose connections soon take no more.
type smallBuffers struct {
	net.Listener
	bytes int
}

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		_ = conn.(*net.TCPConn).SetWriteBuffer(l.bytes) // it fails if the client has gone already
	}
	return conn, err
}

func (x *torture) run() {
	goroutines, files := goroutines(), openFiles()
	x.start()
	var publishers, subscribers sync.WaitGroup
	for i := range torturePublishers {
		p := &publisher{x: x, rng: x.actor(), ends: i == 0}
		publishers.Go(func() { p.run(x.steps) })
	}
	slow := &publisher{x: x, rng: x.actor()}
	publishers.Go(slow.seldom)
	x.catching.Add(x.roamers + x.movers)
	for range x.roamers {
		r := x.roamer(x.actor())
		subscribers.Go(r.run)
		x.spread()
	}
	for range x.movers {
		m := x.mover(x.actor())
		subscribers.Go(m.run)
		x.spread()
	}
	if x.abrupt {
		time.Sleep(time.Duration(x.rng.Int64N(int64(2 * time.Second))))
	} else {
		publishers.Wait()
		for x.witness.seen() < x.end() && !x.failed() && time.Now().Before(x.deadline) {
			time.Sleep(time.Millisecond)
		}
		x.truth = x.witness.truth()
		close(x.calm)
		x.catching.Wait()
	}
	x.stop()
	publishers.Wait()
	subscribers.Wait()
	hurried := x.failed() // then nobody has waited for everything
	truth := x.witness.truth()
	x.checkPublished(truth)
	for _, s := range x.subscribers {
		s.check(truth, hurried || x.abrupt)
	}
	x.checkRemains(goroutines, files)
	if x.Failed() {
		x.Logf("the server has logged:\n%s", x.log.String())
	}
}

// spread lets everybody come at another time.
func (x *torture) spread() { time.Sleep(time.Duration(x.rng.Int64N(int64(4 * time.Millisecond)))) }

func (x *torture) start() {
	config := &server.Config{
		Listen:       []string{"127.0.0.1:0"},
		Ping:         x.ping,
		RetainEvents: x.retain,
		RetainAge:    -1,
		RetainBytes:  -1,
		Logger:       slog.New(slog.NewTextHandler(&x.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if x.durable {
		config.Data = filepath.Join(x.TempDir(), "log")
		x.count("durable")
	}
	if x.secure {
		config.TLSDevDir = authority
		x.count("secure")
	}
	if x.batch > 0 {
		config.Rules = []topic.Rule{{Pattern: x.parse("a/**"), Batch: x.batch}, {Pattern: x.parse("*/1"), Batch: x.batch / 2}}
		x.count("batched")
	}
	if !x.patient {
		config.WriteTimeout = 500 * time.Millisecond
		config.MaxLagBytes = 1 + int64(x.rng.IntN(50_000))
	}
	bytes := []int{0, 16 << 10, 64 << 10}[x.rng.IntN(3)]
	config.SendBuffer = bytes
	s, err := server.New(x.Context(), config)
	if err != nil {
		x.Fatal(err)
	}
	if bytes > 0 {
		s.ListenBy(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			return smallBuffers{l, bytes}, err
		})
	}
	if err := s.Start(); err != nil {
		x.Fatal(err)
	}
	x.server, x.address = s, s.Addrs()[0].String()
	if x.secure {
		x.trust()
		x.gateway = x.newGateway()
	}
	x.epoch = s.Hub().Log().End().Epoch
	x.witness = x.newWitness()
}

// said keeps the beginning of what is logged.
type said struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

func (s *said) Write(p []byte) (int, error) {
	const most = 16 << 10
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.text) < most {
		s.text = append(s.text, p...)
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// authority is the directory of the one that the server's certificates are of.
var authority string

// trust lets clients trust the server.
func (x *torture) trust() {
	text, err := os.ReadFile(filepath.Join(authority, server.DevCAFile))
	if err != nil {
		x.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	x.tls = &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// stop stops the server, with everybody connected.
func (x *torture) stop() {
	x.overdue = time.Now().After(x.deadline)
	x.stopping.Store(true)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(x.Context()), x.deadline.Add(10*time.Second))
	defer cancel()
	if err := x.server.Shutdown(ctx); err != nil {
		x.Errorf("seed %d: shutdown: %v", x.seed, err)
	}
	if x.gateway != nil {
		x.gateway.close()
	}
}

// warmUp lets come to be what a process opens once, for its first sockets.
func (x *torture) warmUp() {
	x.start()
	l, err := x.dial(x.rng, calm)
	if err == nil {
		defer l.close()
		if err = l.send([]byte("GET /topics/a?as=stream HTTP/1.1\r\nHost: localhost\r\n\r\n")); err == nil {
			var resp *http.Response
			if resp, err = l.answer("GET"); err == nil {
				_, err = resp.Body.Read(make([]byte, 1))
			}
		}
	}
	if err != nil {
		x.Error(err)
	}
	x.stop()
}

// checkRemains requires that the server has left nothing.
func (x *torture) checkRemains(before []string, files []string) {
	const mostTries = 6000 // net/http and the kernel tell of the last ones a little later
	var left []string
	for range mostTries {
		left = left[:0]
		if n := x.server.ConnectionCount(); n != 0 {
			left = append(left, fmt.Sprintf("%d connections are counted", n))
		}
		for _, g := range goroutines() {
			id, stack, _ := strings.Cut(g, " [")
			if !slices.ContainsFunc(before, func(g string) bool { return strings.HasPrefix(g, id+" [") }) && strings.Contains(stack, "duplex") {
				left = append(left, g)
			}
		}
		if now := openFiles(); len(now) > len(files) {
			left = append(left, fmt.Sprintf("%d files are open, before were %d: %v", len(now), len(files), now))
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	x.Errorf("seed %d: the server has left: %s", x.seed, strings.Join(left, "\n\n"))
}

// goroutines returns the stacks of all.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return strings.Split(string(buf[:n]), "\n\n")
		}
		buf = make([]byte, 2*len(buf))
	}
}

// openFiles lists what the process has open; nothing where that is not known.
func openFiles() []string {
	const dir = "/proc/self/fd"
	entries, _ := os.ReadDir(dir) // there is none on other systems
	var files []string
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil { // else it was that of dir
			files = append(files, target)
		}
	}
	return files
}

// errorf tells of a fault, unless there were many already.
func (x *torture) errorf(format string, args ...any) {
	const most = 10
	if x.faults.Add(1) <= most {
		x.Errorf("seed %d, %d retained, patient %v, abrupt %v: %s", x.seed, x.retain, x.patient, x.abrupt, fmt.Sprintf(format, args...))
	}
}

func (x *torture) failed() bool { return x.faults.Load() > 0 }

func (x *torture) isCalm() bool {
	select {
	case <-x.calm:
		return true
	default:
		return false
	}
}

// end is the newest seq of the log.
func (x *torture) end() uint64 { return x.server.Hub().Log().End().Seq }

// final is the end of the log that everybody has to reach. What the server
// found later, sent by connections that were cut, need not arrive.
func (x *torture) final() uint64 { return uint64(len(x.truth.facts)) }

func (x *torture) parse(name string) topic.Pattern { return x.parsed[name] }

func (x *torture) count(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.counts[what]++
}

// keepCursor keeps some, for others to begin with.
func (x *torture) keepCursor(rng *rand.Rand, cursor string) {
	const most = 1000
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.cursors) < most {
		x.cursors = append(x.cursors, cursor)
	} else {
		x.cursors[rng.IntN(most)] = cursor
	}
}

// someCursor returns one that was kept, or none.
func (x *torture) someCursor(rng *rand.Rand) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.cursors) == 0 {
		return ""
	}
	return x.cursors[rng.IntN(len(x.cursors))]
}
