package topic_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

var (
	tortureFor  = flag.Duration("torture", 3*time.Second, "how long TestTorture goes on")
	tortureSeed = flag.Uint64("torture.seed", 0, "the only round of TestTorture, again and again; 0 for random ones")
)

// TestTorture lets publishers and subscribers of all kinds do what they like,
// and proves afterwards, with the whole log at hand, that everybody was given
// what the package promises. Each round is one bubble: so it is known when
// nothing moves any more. A seed decides what everybody wants, and the
// scheduler when: a failure may take some repetitions.
func TestTorture(t *testing.T) {
	rounds := 0
	for begun := time.Now(); rounds == 0 || time.Since(begun) < *tortureFor; rounds++ {
		seed := *tortureSeed
		if seed == 0 {
			seed = rand.Uint64() | 1
		}
		synctest.Test(t, func(t *testing.T) { newTorture(t, seed).run() })
		if t.Failed() {
			t.Fatalf("after %d rounds; repeat with -torture.seed=%d", rounds, seed)
		}
	}
	t.Logf("%d rounds", rounds)
}

const (
	torturePing   = time.Second
	tortureStall  = torturePing / 2 // of a sink, at most
	tortureSteady = 40              // subscribers whose selections never change
	tortureMoving = 12              // those who add, remove and rewind
)

type torture struct {
	*testing.T
	rng    *rand.Rand // the conductor's; everybody else has its own
	seed   uint64
	actors uint64
	retain int
	rules  *topic.Rules
	maxLag time.Duration
	log    *memlog.Log
	hub    *topic.Hub
	// The hub was closed in the middle of everything.
	hubGone bool

	mu        sync.Mutex
	published []fact   // guarded by mu
	cursors   []string // some that signals said; guarded by mu
}

func newTorture(t *testing.T, seed uint64) *torture {
	x := &torture{T: t, seed: seed}
	x.rng = x.actor()
	x.retain = 1 + x.rng.IntN(60)
	x.rules = x.someRules()
	if x.rng.IntN(4) == 0 {
		x.maxLag = tortureStall / 4
	}
	x.log = memlog.Open(&memlog.Options{RetainEvents: x.retain, Rules: x.rules})
	x.hub = topic.NewHub(&slowLog{Log: x.log, rng: x.actor()}, &topic.HubOptions{
		Shards: 1 + x.rng.IntN(3), Readers: 1 + x.rng.IntN(4), Ping: torturePing, MaxLagTime: x.maxLag,
	})
	return x
}

// someRules are of all kinds, some with a batching interval.
func (x *torture) someRules() *topic.Rules {
	batch := func() time.Duration {
		return time.Duration(max(0, x.rng.IntN(30)-10)) * time.Millisecond
	}
	return rules(x,
		topic.Rule{Pattern: pattern(x, "eph/**"), RetainEvents: new(0), Batch: batch()},
		topic.Rule{Pattern: pattern(x, "last/**"), RetainEvents: new(1), Batch: batch()},
		topic.Rule{Pattern: pattern(x, "conf/**"), Slow: topic.SlowConflate, Batch: batch()},
		topic.Rule{Pattern: pattern(x, "typ/**"), Slow: topic.SlowConflateTypes, Batch: batch()},
		topic.Rule{Pattern: pattern(x, "drop/**"), Slow: topic.SlowDrop, Batch: batch()},
		topic.Rule{Pattern: pattern(x, "b/**"), Batch: batch()},
	)
}

func (x *torture) actor() *rand.Rand {
	x.actors++
	return rand.New(rand.NewPCG(x.seed, x.actors))
}

func (x *torture) run() {
	defer x.log.Close()
	defer x.hub.Close()
	for range x.rng.IntN(20) { // history
		x.publish(x.rng, 1+x.rng.IntN(20))
	}
	ctx, stop := context.WithCancel(x.Context())
	defer stop()
	var publishers, closers sync.WaitGroup
	for range 1 + x.rng.IntN(4) {
		rng := x.actor()
		publishers.Go(func() {
			for range 10 + rng.IntN(40) {
				n := 1 + rng.IntN(10)
				if rng.IntN(1000) == 0 {
					n = 5000 // more than the tail holds
				}
				x.publish(rng, n)
				pause(rng)
			}
		})
	}
	var steady []*steadySubscriber
	for range tortureSteady {
		s := x.subscribe(x.actor())
		steady = append(steady, s)
		if rng := x.actor(); rng.IntN(4) == 0 {
			closers.Go(func() {
				pause(rng)
				s.close()
			})
		}
		pause(x.rng)
	}
	var moving []*movingSubscriber
	for range tortureMoving {
		m := x.subscribeMoving(x.actor())
		moving = append(moving, m)
		closers.Go(func() { m.move(ctx) })
	}
	if x.rng.IntN(4) == 0 { // in the middle of everything
		pause(x.rng)
		x.hub.Close()
		x.hubGone = true
		for _, s := range steady {
			s.hubClosed()
		}
		for _, m := range moving {
			m.hubClosed()
		}
	}
	publishers.Wait()
	stop()
	closers.Wait()
	for _, s := range steady {
		s.calm()
	}
	for _, m := range moving {
		m.calm()
	}
	time.Sleep(2 * torturePing) // the last stalls are over
	synctest.Wait()             // and everybody has everything

	truth := x.truth()
	for _, s := range steady {
		s.check(truth)
	}
	for _, m := range moving {
		m.check(truth)
	}
	x.checkPings(steady, moving)
	x.checkResume(truth, steady)
	for _, s := range steady {
		s.close()
	}
	for _, m := range moving {
		m.close()
	}
	synctest.Wait()
	if left := x.hub.Remains(); len(left) > 0 && !x.hubGone {
		x.Errorf("when all subscribers were closed: %q", left)
	}
}

// slowLog takes its time for a read, and to tell its watcher, and sometimes fails.
type slowLog struct {
	*memlog.Log
	mu  sync.Mutex
	rng *rand.Rand // guarded by mu
}

// Watch has f called when others may have read already what it is told of.
func (l *slowLog) Watch(f func([]*topic.Entry)) topic.ID {
	return l.Log.Watch(func(entries []*topic.Entry) {
		for range 3 {
			runtime.Gosched()
		}
		f(entries)
	})
}

var errTorture = errors.New("the log failed")

func (l *slowLog) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	l.mu.Lock()
	rng := rand.New(rand.NewPCG(l.rng.Uint64(), 0))
	l.mu.Unlock()
	pause(rng)
	defer pause(rng)
	if rng.IntN(1000) == 0 {
		return topic.Page{}, errTorture
	}
	return l.Log.Read(ctx, interests, limit)
}

// publish appends up to n events to some topic, and sometimes ends it.
func (x *torture) publish(rng *rand.Rand, n int) {
	name := tortureTopics[rng.IntN(len(tortureTopics))]
	drafts := make([]topic.Draft, n)
	for i := range drafts {
		drafts[i].Type = []string{"", "x", "y"}[rng.IntN(3)]
	}
	ends := strings.Contains(name, "end/") && rng.IntN(6) == 0
	if ends {
		drafts[n-1] = topic.EndDraft()
	}
	id, err := x.hub.Publish(x.Context(), name, drafts, topic.Key{})
	switch {
	case errors.Is(err, topic.ErrEnded):
		return
	case err != nil:
		x.Error(err)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range drafts {
		x.published = append(x.published, fact{
			seq: id.Seq + uint64(i), topic: name, typ: drafts[i].Type, rule: x.rules.Of(name), end: drafts[i].IsEnd(),
		})
	}
}

var tortureTopics = []string{
	"a", "b", "a/x", "a/y", "b/x", "b/x/1", "b/y/1", "c", "end/0", "end/1", "end/2", "end/x/3",
	"eph/x", "eph/y", "last/x", "last/x/1", "conf/x", "conf/y", "typ/x", "typ/x/1", "drop/x", "drop/y",
	"eph/end/1", "last/end/1", "conf/end/1", "drop/end/1",
}

var torturePatterns = []string{
	"a", "b", "a/x", "b/x/1", "c", "never", "end/0", "end/1", "end/2", "end/x/3",
	"**", "*", "a/*", "*/x", "*/x/*", "b/**", "end/*", "end/**", "$s/**",
	"eph/x", "eph/**", "last/x", "last/*", "conf/x", "conf/**", "typ/x", "typ/**", "drop/x", "drop/*", "*/end/*",
	"last/end/1", "drop/end/1",
}

func (x *torture) pattern(rng *rand.Rand) topic.Pattern {
	p, err := topic.ParsePattern(torturePatterns[rng.IntN(len(torturePatterns))])
	if err != nil {
		x.Fatal(err)
	}
	return p
}

// start is any place to begin at.
func (x *torture) start(rng *rand.Rand, patterns []topic.Pattern) topic.Start {
	end := x.log.End()
	switch rng.IntN(8) {
	case 0, 1, 2:
		return x.hub.Now()
	case 3:
		start, err := x.hub.Earliest(x.Context(), patterns)
		if err != nil {
			x.Error(err)
		}
		return start
	case 4:
		return x.after([]string{"junk", "", "zz-1", topic.ID{Epoch: end.Epoch, Seq: end.Seq + 1e6}.String()}[rng.IntN(4)])
	case 5, 6:
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(x.cursors) > 0 {
			return x.after(x.cursors[rng.IntN(len(x.cursors))])
		}
	}
	return x.after(topic.ID{Epoch: end.Epoch, Seq: rng.Uint64N(end.Seq + 1)}.String())
}

func (x *torture) after(text string) topic.Start {
	start, err := x.hub.After(x.Context(), text)
	if err != nil {
		x.Error(err)
	}
	return start
}

// pause is none, or one that many end at the same time.
func pause(rng *rand.Rand) {
	switch rng.IntN(3) {
	case 0:
		runtime.Gosched()
	case 1:
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
}

// tortureForm says what the checker needs. Forms of different numbers must not
// be mixed up.
type tortureForm int

func (f tortureForm) AppendEvent(dst []byte, e *topic.Event) []byte {
	return fmt.Appendf(dst, "%d event %d %s\n", f, e.ID.Seq, e.Topic)
}

func (f tortureForm) AppendSignal(dst []byte, s topic.Signal) []byte {
	return fmt.Appendf(dst, "%d %s %v %s\n", f, s.Type, s.Cursor, s.Data)
}

// checkPings checks that whoever has nothing else to do is pinged at exact
// times, and with a cursor that says that nothing is missing.
func (x *torture) checkPings(steady []*steadySubscriber, moving []*movingSubscriber) {
	sinks := make([]*tortureSink, 0, len(steady)+len(moving))
	for _, s := range steady {
		sinks = append(sinks, s.tortureSink)
	}
	for _, m := range moving {
		sinks = append(sinks, m.tortureSink)
	}
	begun := make([]int, len(sinks))
	for i, s := range sinks {
		begun[i] = s.length()
	}
	time.Sleep(3 * torturePing)
	synctest.Wait()
	for i, s := range sinks {
		s.mu.Lock()
		pings, idle := s.heard[begun[i]:], !s.over()
		s.mu.Unlock()
		if !idle || !s.opts.Signals {
			continue
		}
		if len(pings) != 3 {
			s.errorf("%d signals in 3 intervals", len(pings))
		}
		for _, h := range pings {
			if h.kind != topic.TypePing || h.at.Sub(s.begun)%torturePing != 0 || h.cursor != (topic.Cursor{ID: x.log.End()}) {
				s.errorf("%v at %v of an idle subscriber, the log's end is %v", h, h.at.Sub(s.begun), x.log.End())
			}
		}
	}
}

// checkResume lets others go on from cursors that were said, and compares.
func (x *torture) checkResume(truth truth, steady []*steadySubscriber) {
	if x.hubGone {
		return
	}
	for _, s := range steady {
		s.mu.Lock()
		heard, complete := s.heard, !s.over()
		s.mu.Unlock()
		if s.opts.Form == nil || s.opts.EndAtGap || len(heard) == 0 {
			continue
		}
		from := x.rng.IntN(len(heard))
		cursor := heard[from].cursor
		ofAll := heard[from].kind == topic.TypePing || len(s.selections) == 1
		if heard[from].kind == "event" || cursor.Epoch == 0 || !ofAll {
			continue
		}
		r := &steadySubscriber{tortureSink: x.sink(x.rng, s.opts)}
		r.calm()
		for _, sel := range s.selections {
			sel.Start = x.after(cursor.String())
			r.selections = append(r.selections, sel)
		}
		r.start(x.hub.Subscribe(r, r.opts, r.selections...))
		time.Sleep(torturePing) // more than its reads take
		synctest.Wait()
		r.close()
		r.closed = false // before, it had everything
		if errors.Is(r.end, errTorture) {
			continue
		}
		r.check(truth)
		r.closed = true
		if !complete {
			continue
		}
		var want []uint64
		for _, h := range heard[from+1:] {
			if h.kind == "event" && truth[h.seq-1].sure() {
				want = append(want, h.seq)
			}
		}
		for _, h := range r.heard {
			if h.kind != "event" || !truth[h.seq-1].sure() {
				continue
			}
			if len(want) == 0 || want[0] != h.seq {
				r.errorf("resumed by %v: event %d, want %v", heard[from], h.seq, want)
				break
			}
			want = want[1:]
		}
		if len(want) > 0 && !r.failed {
			r.errorf("resumed by %v: misses %v", heard[from], want)
		}
	}
}
