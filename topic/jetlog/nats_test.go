package jetlog

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/logtest"
)

// natsServer starts a server that listens on the loopback.
func natsServer(tb testing.TB, dir string, port int) *server.Server {
	tb.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, DisableJetStreamBanner: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		tb.Fatal("the server is not ready")
	}
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

var streamsMade atomic.Int64

// newStream gives the options of a stream that is not there yet.
func newStream(s *server.Server) *NATS {
	return &NATS{URL: s.ClientURL(), Stream: fmt.Sprintf("test%d", streamsMade.Add(1))}
}

func TestLogOnServer(t *testing.T) {
	s := natsServer(t, t.TempDir(), -1)
	logtest.Run(t, func(t *testing.T, opts logtest.Options) topic.Log {
		if opts.Bubble {
			t.Skip("a server's goroutines cannot be in a bubble")
		}
		return openAt(t, &Options{NATS: newStream(s), Bounds: opts.Bounds})
	})
}

// watched collects what the watcher of a log sees.
type watched struct {
	mu      sync.Mutex
	entries []*topic.Entry
}

func watch(l *Log) *watched {
	w := new(watched)
	l.Watch(func(entries []*topic.Entry) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.entries = append(w.entries, entries...)
	})
	return w
}

func (w *watched) list() []*topic.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entries[:len(w.entries):len(w.entries)]
}

// wait waits for so many entries.
func (w *watched) wait(t *testing.T, n int) []*topic.Entry {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for len(w.list()) < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d entries have come, want %d", len(w.list()), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return w.list()
}

// Several logs on one stream are one log: what any of them appends, all have,
// once and in the same order.
func TestNodes(t *testing.T) {
	t.Parallel()
	const nodes, writers, each = 3, 4, 100
	o := Options{NATS: newStream(natsServer(t, t.TempDir(), -1))}
	var logs []*Log
	var views []*watched
	for range nodes {
		l := openAt(t, &o)
		defer l.Close()
		logs, views = append(logs, l), append(views, watch(l))
	}
	var wg sync.WaitGroup
	for n, l := range logs {
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					drafts := []topic.Draft{{Media: "text/plain", Data: fmt.Appendf(nil, "%d/%d/%d", n, w, i)}}
					id, err := l.Append(t.Context(), fmt.Sprintf("t/%d", w), drafts, topic.Key{})
					if err != nil {
						t.Error(err)
						return
					}
					if !isKnown(t, l, topic.Cursor{ID: id}) || !isKnown(t, logs[(n+1)%nodes], topic.Cursor{ID: id}) {
						t.Errorf("%v is not known on both nodes", id)
					}
				}
			})
		}
	}
	wg.Wait()
	const total = nodes * writers * each
	want := views[0].wait(t, total)
	next := make(map[string]int)
	for i, e := range want {
		if e.ID.Seq != uint64(i+1) {
			t.Fatalf("entry %d has id %v", i, e.ID)
		}
		var n, w, j int
		fmt.Sscanf(string(e.Data), "%d/%d/%d", &n, &w, &j)
		writer := fmt.Sprint(n, "/", w)
		if next[writer] != j {
			t.Fatalf("event %d of writer %s, want %d", j, writer, next[writer])
		}
		next[writer]++
	}
	for _, v := range views[1:] {
		got := v.wait(t, total)
		for i, e := range got {
			if e.ID != want[i].ID || e.Topic != want[i].Topic || string(e.Data) != string(want[i].Data) {
				t.Fatalf("nodes differ: %v %s, and %v %s", e.ID, e.Data, want[i].ID, want[i].Data)
			}
		}
		if len(got) != total {
			t.Errorf("%d entries, want %d", len(got), total)
		}
	}
}

// keyed appends one event with a key.
func keyed(t *testing.T, l *Log, name, data string, k topic.Key) topic.ID {
	t.Helper()
	id, err := l.Append(t.Context(), name, []topic.Draft{{Data: []byte(data)}}, k)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What one node knows, the others know at once when they append: which keys are
// in use, and which topics were ended. It needs no clock and no window of the
// server.
func TestNodesAgree(t *testing.T) {
	t.Parallel()
	o := Options{NATS: newStream(natsServer(t, t.TempDir(), -1))}
	a, b := openAt(t, &o), openAt(t, &o)
	defer a.Close()
	defer b.Close()
	for i := range 20 {
		k := topic.Key{Value: fmt.Sprint(i), Digest: [32]byte{1}}
		id := keyed(t, a, "k", "1", k)
		if again := keyed(t, b, "k", "1", k); again != id {
			t.Errorf("retry on another node: %v, want %v", again, id)
		}
		k.Digest[0]++
		if _, err := b.Append(t.Context(), "k", []topic.Draft{{Data: []byte("2")}}, k); !errors.Is(err, topic.ErrKeyReused) {
			t.Errorf("key with another content: %v", err)
		}
		name := fmt.Sprint("ended/", i)
		end, err := b.Append(t.Context(), name, []topic.Draft{topic.EndDraft()}, topic.Key{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Append(t.Context(), name, []topic.Draft{{Data: []byte("2")}}, topic.Key{}); !errors.Is(err, topic.ErrEnded) {
			t.Errorf("append after the end on another node: %v", err)
		}
		if got, ok := a.Ended(name); !ok || got != end {
			t.Errorf("end: %v, %v, want %v", got, ok, end)
		}
	}
	fresh := openAt(t, &o)
	defer fresh.Close()
	if k := (topic.Key{Value: "3", Digest: [32]byte{1}}); keyed(t, fresh, "k", "1", k) != keyed(t, a, "k", "1", k) {
		t.Error("a new node does not know a key")
	}
}

// A cursor that one node has given is the same to all others: also what it was
// told of, and where they know more or less of what was lost.
func TestNodesToldTheSame(t *testing.T) {
	t.Parallel()
	o := Options{NATS: newStream(natsServer(t, t.TempDir(), -1)), Bounds: topic.Bounds{RetainEvents: 2}}
	a, b := openAt(t, &o), openAt(t, &o)
	defer a.Close()
	defer b.Close()
	start := topic.Cursor{ID: a.End()}
	for i := range 3 { // lost and kept events, interleaved
		for range 3 {
			appendText1(t, a, "x", fmt.Sprint(i))
		}
		appendText1(t, b, fmt.Sprint("y/", i), "kept")
	}
	if err := a.purgeShared(t.Context(), a.needed()); err != nil { // the third node sees less
		t.Fatal(err)
	}
	c := openAt(t, &o)
	defer c.Close()
	for _, l := range []*Log{a, c} { // has all that b has appended
		isKnown(t, l, topic.Cursor{ID: b.End()})
	}
	read := func(l *Log, after topic.Cursor) topic.Page {
		t.Helper()
		if !isKnown(t, l, after) {
			t.Fatalf("%v is not known", after)
		}
		page, err := l.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "**")}, After: after}}, topic.Limit{})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	for i, l := range []*Log{a, b, c} {
		page := read(l, start)
		if len(page.Gaps) != 1 {
			t.Fatalf("node %d tells %d gaps", i, len(page.Gaps))
		}
		told := page.Gaps[0].Cursor
		for j, other := range []*Log{a, b, c} {
			page := read(other, told)
			if len(page.Gaps) > 0 {
				t.Errorf("node %d tells again what node %d has told: %v, %+v", j, i, told, page.Gaps)
			}
			if data := texts(page.Entries); data != "[kept kept 2 2 kept]" {
				t.Errorf("node %d reads %v", j, data)
			}
		}
	}
	page := read(a, start)
	told := page.Gaps[0].Cursor
	appendText1(t, b, "x", "3") // and one more is lost
	for i, l := range []*Log{a, b, c} {
		if !isKnown(t, l, topic.Cursor{ID: b.End()}) || len(read(l, told).Gaps) != 1 {
			t.Errorf("node %d does not tell what was lost since %v", i, told)
		}
	}
}

func texts(entries []*topic.Entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, string(e.Data))
	}
	return fmt.Sprint(list)
}

// Time goes on also in a log that nobody appends to, and for all nodes alike.
func TestNodesAge(t *testing.T) {
	t.Parallel()
	o := Options{NATS: newStream(natsServer(t, t.TempDir(), -1)), Bounds: topic.Bounds{RetainAge: time.Second}}
	a, b := openAt(t, &o), openAt(t, &o)
	defer a.Close()
	defer b.Close()
	start := topic.Cursor{ID: a.End()}
	appendText1(t, a, "x", "1")
	for _, l := range []*Log{a, b} {
		until(t, "the event is over age", func() bool {
			list, err := l.Topics(t.Context(), "", 10)
			return err == nil && len(list) == 0
		})
		page, err := l.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "x")}, After: start}}, topic.Limit{})
		if err != nil || len(page.Gaps) != 1 {
			t.Errorf("%v, gaps %v, want one", err, page.Gaps)
		}
	}
}

// isKnown is Knows for a cursor of which the log can find it out.
func isKnown(t *testing.T, l *Log, c topic.Cursor) bool {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		known, err := l.Knows(t.Context(), c)
		if errors.Is(err, ErrUnavailable) && time.Now().Before(deadline) {
			continue // it takes longer than 2 s on a busy machine
		}
		if err != nil {
			t.Errorf("cursor %v: %v", c, err)
		}
		return known
	}
}

// until waits for something that is sure to come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in five minutes: %s", what)
		}
	}
}

// What nodes keep must be the same: one that is told otherwise is refused while
// there is another one, and has its way when there is none.
func TestOptionsDiffer(t *testing.T) {
	t.Parallel()
	n := newStream(natsServer(t, t.TempDir(), -1))
	rules := func(pattern string) *topic.Rules {
		r, err := topic.NewRules(topic.Rule{Pattern: pattern1(t, pattern), Slow: topic.SlowConflate})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := openAt(t, &Options{NATS: n, Bounds: topic.Bounds{Rules: rules("a/*")}})
	openAt(t, &Options{NATS: n, Bounds: topic.Bounds{Rules: rules("a/*")}}).Close()
	for want, bounds := range map[string]topic.Bounds{
		"they have retain-age 24h0m0s; this one has retain-age 1h0m0s;":                            {RetainAge: time.Hour, Rules: rules("a/*")},
		"they have rule a/*: slow=conflate; this one has nothing of that;":                         {},
		"they have rule a/*: slow=conflate; this one has rule b/*: slow=conflate;":                 {Rules: rules("b/*")},
		"they have max-keys 1000000, rule a/*: slow=conflate; this one has max-keys without limit": {MaxKeys: -1},
	} {
		if _, err := Open(t.Context(), &Options{NATS: n, Bounds: bounds}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	appendText1(t, first, "a/1", "1")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := openAt(t, &Options{NATS: n, Bounds: topic.Bounds{RetainAge: time.Hour}})
	defer second.Close()
	if _, err := Open(t.Context(), &Options{NATS: n, Bounds: topic.Bounds{Rules: rules("a/*")}}); !errors.Is(err, ErrOptions) {
		t.Errorf("with what was before: %v", err)
	}
}

// A server that is there, but knows nothing of the stream, as one that is cut
// off from the others, is left for another one: at the beginning, and later.
func TestServerKnowsNothing(t *testing.T) {
	t.Parallel()
	ignorant, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	ignorant.Start()
	t.Cleanup(ignorant.Shutdown)
	if !ignorant.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	dir := t.TempDir()
	port := testnet.Ports(t, 1)[0]
	s := natsServer(t, dir, port)
	n := newStream(s)
	n.URL = ignorant.ClientURL() + "," + s.ClientURL()
	var logs []*Log
	for range 4 { // the first server is a random one
		l := openAt(t, &Options{NATS: n})
		defer l.Close()
		logs = append(logs, l)
	}
	s.Shutdown()
	s.WaitForShutdown()
	for _, l := range logs {
		until(t, "the node is with the other server", func() bool {
			return l.remote.stream.reads.ConnectedUrl() == ignorant.ClientURL() && l.remote.stream.writes.ConnectedUrl() == ignorant.ClientURL()
		})
	}
	natsServer(t, dir, port)
	for i, l := range logs {
		until(t, "the node is back", func() bool { return l.Ready() == nil })
		appendText1(t, l, "a", fmt.Sprint(i))
	}
}

// A node that starts while the servers do not answer to what it reads, as they
// have just come together, waits for them.
func TestOpenWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	n := newStream(natsServer(t, t.TempDir(), -1))
	l := openAt(t, &Options{NATS: n})
	defer l.Close()
	appendText1(t, l, "a", "1")
	direct := func(allow bool) {
		config := l.remote.stream.config()
		config.AllowDirect = allow
		if _, err := l.remote.stream.js.UpdateStream(context.Background(), config); err != nil {
			t.Error(err)
		}
	}
	direct(false)
	time.AfterFunc(time.Second, func() { direct(true) })
	again := openAt(t, &Options{NATS: n})
	defer again.Close()
	if again.End() != l.End() {
		t.Errorf("it ends with %v, want %v", again.End(), l.End())
	}
}

// Who comes with cursors beyond the end does not fill the stream.
func TestCursorsBeyondEnd(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{NATS: newStream(natsServer(t, t.TempDir(), -1))})
	defer l.Close()
	appendText1(t, l, "a", "1")
	begun, before := time.Now(), l.messages()
	var wg sync.WaitGroup
	for i := range uint64(100) {
		wg.Go(func() {
			for range 3 {
				if isKnown(t, l, topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch, Seq: 2 + i}}) {
					t.Error("it is known")
				}
			}
		})
	}
	wg.Wait()
	if stored, most := l.messages()-before, 2+uint64(time.Since(begun)/settleEvery); stored > most {
		t.Errorf("%d messages for 300 cursors, at most %d were due", stored, most)
	}
}

// Without a server, appends say so after their patience, reads go on from
// memory, and a cursor that cannot be checked is not called unknown.
func TestServerGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := testnet.Ports(t, 1)[0]
	s := natsServer(t, dir, port)
	n := newStream(s)
	n.Patience = 5 * time.Second
	l := openAt(t, &Options{NATS: n})
	defer l.Close()
	view := watch(l)
	appendText1(t, l, "a", "1")
	if err := l.Ready(); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	_, err := l.Append(t.Context(), "a", []topic.Draft{{Data: []byte("2")}}, topic.Key{Value: "2"})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	until(t, "it is not ready", func() bool { return errors.Is(l.Ready(), ErrUnavailable) })
	page, err := l.Newest(t.Context(), []topic.Pattern{pattern1(t, "a")}, topic.Limit{Events: 10})
	if err != nil || texts(page.Entries) != "[1]" {
		t.Errorf("read: %s, %v", texts(page.Entries), err)
	}
	ahead := topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch, Seq: l.End().Seq + 1}}
	if _, err := l.Knows(t.Context(), ahead); !errors.Is(err, ErrUnavailable) {
		t.Errorf("of a cursor that may be another node's: %v", err)
	}
	if _, err := l.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "a")}, After: ahead}}, topic.Limit{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("read from there: %v", err)
	}
	natsServer(t, dir, port)
	until(t, "it is ready", func() bool { return l.Ready() == nil })
	keyed(t, l, "a", "2", topic.Key{Value: "2"})
	if got := texts(view.wait(t, 2)); got != "[1 2]" {
		t.Errorf("watched %v", got)
	}
	if isKnown(t, l, topic.Cursor{ID: topic.ID{Epoch: ahead.Epoch, Seq: ahead.Seq + 1}}) {
		t.Error("a cursor beyond the end is known")
	}
}

// A stream whose end was lost gets a new epoch, and the node that has seen more
// of it stops: ids of what was lost are unknown.
func TestStreamRolledBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := testnet.Ports(t, 1)[0]
	s := natsServer(t, dir, port)
	n := newStream(s)
	n.rollbackPatience = 100 * time.Millisecond
	l := openAt(t, &Options{NATS: n})
	defer l.Close()
	kept := appendText1(t, l, "a", "1")
	s.Shutdown()
	s.WaitForShutdown()
	before := t.TempDir()
	if err := os.CopyFS(before+"/jetstream", os.DirFS(dir+"/jetstream")); err != nil {
		t.Fatal(err)
	}
	s = natsServer(t, dir, port)
	until(t, "it is ready", func() bool { return l.Ready() == nil })
	lost := appendText1(t, l, "a", "2")
	s.Shutdown()
	s.WaitForShutdown()
	natsServer(t, before, port)
	until(t, "the log stops", func() bool { return errors.Is(l.Ready(), ErrFailed) })
	if _, err := l.Append(t.Context(), "a", []topic.Draft{{}}, topic.Key{}); !errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
	l = openAt(t, &Options{NATS: n})
	defer l.Close()
	again := appendText1(t, l, "a", "3")
	if again.Seq != lost.Seq || again.Epoch == lost.Epoch {
		t.Errorf("id %v, in place of the lost %v", again, lost)
	}
	if !isKnown(t, l, topic.Cursor{ID: kept}) || isKnown(t, l, topic.Cursor{ID: lost}) || !isKnown(t, l, topic.Cursor{ID: again}) {
		t.Error("what was lost is known, or what was kept is not")
	}
	next := openAt(t, &Options{NATS: n})
	defer next.Close()
	if next.End() != again {
		t.Errorf("a new node ends with %v, want %v", next.End(), again)
	}
}

func TestNATSOptionsRefused(t *testing.T) {
	for _, n := range []NATS{
		{},
		{URL: "nats://127.0.0.1", Stream: "a.b"},
		{URL: "nats://127.0.0.1", Stream: strings.Repeat("x", 65)},
		{URL: "nats://127.0.0.1", Replicas: 6},
		{URL: "nats://127.0.0.1", Patience: -1},
	} {
		if _, err := Open(t.Context(), &Options{NATS: &n}); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	s := natsServer(t, t.TempDir(), -1)
	n := NATS{URL: strings.Replace(s.ClientURL(), "nats://", "tls://", 1)}
	if _, err := Open(t.Context(), &Options{NATS: &n}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with a server that has no TLS: %v", err)
	}
}

// A node may begin before its NATS server does.
func TestServerBeginsLater(t *testing.T) {
	t.Parallel()
	port, dir := testnet.Ports(t, 1)[0], t.TempDir()
	var begin sync.Once
	logger := slog.New(logHook(func(message string) {
		if message == "waiting for NATS" {
			begin.Do(func() { natsServer(t, dir, port) })
		}
	}))
	l := openAt(t, &Options{NATS: &NATS{URL: fmt.Sprintf("nats://127.0.0.1:%d", port)}, Logger: logger})
	defer l.Close()
	appendText1(t, l, "a", "1")
}

// A server that wants TLS, and a password in the URL or a file of credentials.
func TestServerSecured(t *testing.T) {
	t.Parallel()
	certificate, authorities := selfSigned(t)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true,
		Username: "duplex", Password: "secret", TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	host := s.Addr().String()
	for _, tt := range []struct {
		name string
		nats NATS
		ok   bool
	}{
		{"password", NATS{URL: "tls://duplex:secret@" + host, TLS: &tls.Config{RootCAs: authorities}}, true},
		{"one of several servers", NATS{URL: "tls://duplex:secret@127.0.0.1:1,tls://duplex:secret@" + host, TLS: &tls.Config{RootCAs: authorities}}, true},
		{"wrong password", NATS{URL: "tls://duplex:wrong@" + host, TLS: &tls.Config{RootCAs: authorities}}, false},
		{"unknown authority", NATS{URL: "tls://duplex:secret@" + host}, false},
		{"no such file", NATS{URL: "tls://duplex:secret@" + host, TLS: &tls.Config{RootCAs: authorities}, Credentials: "/nowhere"}, false},
	} {
		l, err := Open(t.Context(), &Options{NATS: &tt.nats})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			appendText1(t, l, "a", "1")
			l.Close()
		}
	}
}

// selfSigned makes a certificate for the loopback.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestClockSkew(t *testing.T) {
	now := time.Now()
	for skew, ok := range map[time.Duration]bool{
		0: true, skewMost: true, -skewMost: true, skewMost + 1: false, -skewMost - 1: false, time.Since(time.Time{}): false,
	} {
		if err := checkClock(now, now.Add(skew)); (err == nil) != ok {
			t.Errorf("skew %v: %v", skew, err)
		}
	}
}
