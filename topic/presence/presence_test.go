package presence

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// PROTOCOL.md §14.1: a member with a name stays for the grace after its last
// connection has gone.
func TestGrace(t *testing.T) {
	for _, test := range []struct{ grace, stays time.Duration }{{0, DefaultGrace}, {3 * time.Second, 3 * time.Second}, {-1, 0}} {
		bubble(t, &Options{Grace: test.grace}, nil, func(t *testing.T, h *house) {
			v := h.join("room/1", "ada")
			h.want("0s room/1 +ada")
			h.at(time.Second)
			v.End()
			if test.stays > 0 {
				h.at(time.Second + test.stays - 1)
				h.want()
				h.wantMembers("room/1", "ada")
			}
			h.at(time.Second + test.stays)
			h.want(fmt.Sprint(time.Second+test.stays, " room/1 -ada"))
			h.wantMembers("room/1")
			h.wantEmpty(t)
		})
	}
}

// Who comes back within the grace was never away, as often as he likes.
func TestReconnect(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, h *house) {
		v := h.join("room/1", "ada")
		h.want("0s room/1 +ada")
		for i := range time.Duration(10) {
			h.at(i * 10 * time.Second)
			v.End()
			v.End()
			h.at(i*10*time.Second + DefaultGrace - 1)
			v = h.join("room/1", "ada")
			h.want()
		}
		v.End()
		h.at(time.Hour)
		h.want("1m39.999999999s room/1 -ada")
		h.wantEmpty(t)
	})
}

// Several connections of one member count once.
func TestTabs(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, h *house) {
		a, b := h.join("room/1", "ada"), h.join("room/1", "ada")
		h.want("0s room/1 +ada")
		a.End()
		h.at(time.Minute)
		h.wantMembers("room/1", "ada")
		c := h.join("room/1", "ada")
		b.End()
		h.at(2 * time.Minute)
		h.want()
		c.End()
		h.at(3 * time.Minute)
		h.want("2m5s room/1 -ada")
	})
}

// A connection without a name is a member of its own, and cannot come back.
func TestWithoutName(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, h *house) {
		a, b := h.join("room/1", ""), h.join("room/1", "")
		if err := a.Join("room/2"); err != nil {
			t.Fatal(err)
		}
		h.at(time.Second)
		s := h.Snapshot("room/1", "", 10)
		if len(s.Members) != 2 || len(s.Members[0]) != 16 || !strings.HasPrefix(s.Members[0], "$") || s.Members[0] == s.Members[1] {
			t.Errorf("%q", s.Members)
		}
		if other := h.Snapshot("room/2", "", 10).Members; len(other) != 1 || other[0] != a.member {
			t.Errorf("%q, want %q", other, a.member)
		}
		h.lines = nil
		a.End()
		h.wantInAnyOrder("1s room/1 -"+a.member, "1s room/2 -"+a.member)
		b.End()
		h.want()
		h.at(1100 * time.Millisecond)
		h.want("1.1s room/1 -" + b.member)
		h.wantEmpty(t)
	})
}

// PROTOCOL.md §14.3: what happens within 100 ms of an event is told in one.
func TestBatches(t *testing.T) {
	bubble(t, &Options{Grace: -1}, nil, func(t *testing.T, h *house) {
		ada := h.join("room/1", "ada")
		h.want("0s room/1 +ada")
		h.at(10 * time.Millisecond)
		h.join("room/1", "bob")
		h.join("room/2", "bob")
		h.want("10ms room/2 +bob")
		h.at(40 * time.Millisecond)
		h.join("room/1", "eve").End() // came and went
		ada.End()
		h.at(60 * time.Millisecond)
		h.join("room/1", "dan")
		h.at(100*time.Millisecond - 1)
		h.want()
		h.at(100 * time.Millisecond)
		h.want("100ms room/1 +bob +dan -ada")
		h.at(150 * time.Millisecond)
		h.join("room/1", "ada").End()
		h.at(time.Second)
		h.want()
		h.join("room/1", "ada")
		h.want("1s room/1 +ada")
	})
}

// A large change takes several events, and a table several pages.
func TestMany(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, h *house) {
		h.join("room/1", "zoe")
		h.want("0s room/1 +zoe")
		v := make([]*Visit, 2500)
		for i := range v {
			v[i] = h.join("room/1", fmt.Sprintf("m%04d", i))
		}
		h.at(100 * time.Millisecond)
		h.want("100ms room/1 +1000", "100ms room/1 +1000", "100ms room/1 +500")
		var all []string
		for s := (Snapshot{More: true}); s.More; {
			from := ""
			if len(all) > 0 {
				from = all[len(all)-1]
			}
			s = h.Snapshot("room/1", from, 1000)
			if s.Count != 2501 || s.More != (len(all) < 2000) || s.Cursor.ID != h.End() {
				t.Errorf("after %q: %d of %d, %v", from, len(s.Members), s.Count, s.More)
			}
			all = append(all, s.Members...)
		}
		if len(all) != 2501 || all[0] != "m0000" || all[2499] != "m2499" || all[2500] != "zoe" {
			t.Errorf("%d members: %q ... %q", len(all), all[0], all[len(all)-1])
		}
		if s := h.Snapshot("room/1", "m2499", 1); s.More || len(s.Members) != 1 {
			t.Errorf("%+v", s)
		}
		if s := h.Snapshot("room/1", "m2499x", 5); len(s.Members) != 1 {
			t.Errorf("%+v", s)
		}
		for _, v := range v {
			v.End()
		}
		h.at(10 * time.Second)
		h.want("5.1s room/1 -1000", "5.1s room/1 -1000", "5.1s room/1 -500")
		h.wantMembers("room/1", "zoe")
	})
}

// A visit is on each topic once, until it leaves or ends.
func TestVisit(t *testing.T) {
	bubble(t, &Options{Grace: -1}, nil, func(t *testing.T, h *house) {
		v := h.join("room/1", "ada")
		for range 2 { // "It does nothing if ..."
			for _, name := range []string{"room/1", "other/1", "room/1/2", "room/$1"} {
				if err := v.Join(name); err != nil {
					t.Error(err)
				}
			}
		}
		h.want("0s room/1 +ada")
		h.at(time.Second)
		v.Leave("room/2")
		v.Leave("room/1")
		v.Leave("room/1")
		h.want("1s room/1 -ada")
		h.at(2 * time.Second)
		if err := v.Join("room/1"); err != nil {
			t.Error(err)
		}
		v.End()
		if err := v.Join("room/1"); err != nil {
			t.Error(err)
		}
		h.at(time.Minute)
		h.want()
		h.wantEmpty(t)
	})
}

func TestNothingIsRecorded(t *testing.T) {
	var r *Recorder
	v := r.Visit("ada")
	if err := v.Join("room/1"); v != nil || err != nil || r.Records("room/1") {
		t.Error(v, err)
	}
	v.Leave("room/1")
	v.End()
	r.Close()
}

// While the log takes an event, the table is as it was before, and so is the
// cursor.
func TestSnapshotWhileAnnounced(t *testing.T) {
	g := new(gate)
	bubble(t, &Options{Grace: -1}, g.of, func(t *testing.T, h *house) {
		before := h.End()
		ada := h.join("room/1", "ada")
		h.wantMembers("room/1")
		if s := h.Snapshot("room/1", "", 1); s.Cursor.ID != before {
			t.Errorf("%+v, want %v", s, before)
		}
		// The end moves, and the event may be before it or after.
		id, err := g.Log.Append(t.Context(), "other", []topic.Draft{{Type: TypePresence, Kind: topic.JSON, Data: []byte("{}")}}, topic.Key{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"room/1", "room/2"} {
			if s := h.Snapshot(name, "", 1); s.Cursor.ID != id || s.Count > 0 {
				t.Errorf("%+v, want %v", s, id)
			}
		}
		g.pass <- nil
		h.wantMembers("room/1", "ada")
		if s := h.Snapshot("room/1", "", 1); s.Cursor.ID != h.End() || s.Cursor.Seq != id.Seq+1 {
			t.Errorf("%+v, want the end", s)
		}
		h.lines = nil

		// It comes back while its leave is on its way, and goes while its join is.
		h.at(time.Second)
		ada.End()
		synctest.Wait()
		ada = h.join("room/1", "ada")
		g.pass <- nil
		h.want("1s room/1 -ada")
		h.wantMembers("room/1")
		h.at(2 * time.Second)
		ada.End()
		g.pass <- nil
		h.want("2s room/1 +ada")
		h.at(3 * time.Second)
		g.pass <- nil
		h.want("3s room/1 -ada")
		h.wantEmpty(t)

		// It comes and goes while the leave of another is on its way.
		h.at(4 * time.Second)
		bob := h.join("room/1", "bob")
		g.pass <- nil
		h.at(5 * time.Second)
		bob.End()
		synctest.Wait()
		h.join("room/1", "ada").End()
		h.join("room/1", "bob").End()
		g.pass <- nil
		h.at(6 * time.Second)
		h.want("4s room/1 +bob", "5s room/1 -bob")
		h.wantEmpty(t)
	})
}

// What the log refuses is announced later, as it is then.
func TestLogFails(t *testing.T) {
	g := new(gate)
	var logged journal
	opts := &Options{Grace: -1, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	bubble(t, opts, g.of, func(t *testing.T, h *house) {
		wantFailures := func(n int) {
			t.Helper()
			synctest.Wait()
			if got := strings.Count(logged.String(), "presence is not announced"); got != n || !strings.Contains(logged.String(), "the disk is full") {
				t.Errorf("after %v: logged %s", time.Since(h.began), &logged)
			}
		}
		g.refuses.Store(true)
		h.join("room/1", "ada")
		eve := h.join("room/1", "eve")
		h.join("room/2", "bob")
		h.join("room/3", "bob")
		wantFailures(1)
		h.at(500 * time.Millisecond)
		eve.End()
		h.join("room/1", "dan")
		h.at(time.Second - 1)
		wantFailures(1)
		h.at(time.Second)
		wantFailures(2)
		g.refuses.Store(false)
		h.at(2*time.Second - 1)
		h.want()
		h.at(2 * time.Second)
		for range 3 {
			g.pass <- nil
		}
		h.wantInAnyOrder("2s room/1 +ada +dan", "2s room/2 +bob", "2s room/3 +bob")
		wantFailures(2)
		h.wantMembers("room/1", "ada", "dan")
	})
}

// Close does not wait for a log that does not answer.
func TestCloseWhileTheLogIsBusy(t *testing.T) {
	var logged bytes.Buffer
	g := new(gate)
	bubble(t, &Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}, g.of, func(t *testing.T, h *house) {
		v := h.join("room/1", "ada")
		synctest.Wait()
		h.Recorder.Close()
		v.End()
		if logged.Len() > 0 {
			t.Error(&logged)
		}
	})
}

func TestMaxMembers(t *testing.T) {
	bubble(t, &Options{MaxMembers: 2}, nil, func(t *testing.T, h *house) {
		a := h.join("room/1", "ada")
		b := h.join("room/2", "ada")
		h.join("room/2", "ada") // is there
		for _, name := range []string{"room/1", "room/3"} {
			if err := h.Visit("bob").Join(name); !errors.Is(err, ErrTooManyMembers) {
				t.Errorf("%s: %v", name, err)
			}
		}
		h.wantMembers("room/3")
		a.End()
		if err := h.Visit("bob").Join("room/1"); !errors.Is(err, ErrTooManyMembers) {
			t.Errorf("within the grace: %v", err)
		}
		h.at(DefaultGrace)
		h.join("room/1", "bob")
		h.at(time.Hour)
		h.wantMembers("room/1", "bob")
		b.End()
		h.wantMembers("room/2", "ada")
	})
	bubble(t, &Options{MaxMembers: -1}, nil, func(t *testing.T, h *house) {
		h.join("room/1", "ada")
		h.wantMembers("room/1", "ada")
	})
}

func TestCheckMember(t *testing.T) {
	for _, name := range []string{"a", "ada@example.com", "Ada Lovelace", "a/b*", "ådä", "a$", "\u2028", strings.Repeat("é", 64)} {
		if err := CheckMember(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                            "is empty",
		strings.Repeat("é", 64) + "a": "is longer than 128 bytes",
		"a\xff":                       "is not valid UTF-8",
		"a\nb":                        "holds a control character",
		"\u0085":                      "holds a control character",
		"\x7f":                        "holds a control character",
		"$a":                          `begins with "$"`,
	} {
		e, ok := errors.AsType[*MemberError](CheckMember(name))
		if !ok || !strings.Contains(e.Error(), want) {
			t.Errorf("%q: %v, want %q", name, e, want)
		}
	}
}

func TestRecords(t *testing.T) {
	log := memlog.Open(nil)
	defer log.Close()
	hub := topic.NewHub(log, nil)
	defer hub.Close()
	r, err := New(hub, &Options{Patterns: []topic.Pattern{pattern(t, "a/**"), pattern(t, "b/*/c"), pattern(t, "d")}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	long := "a/" + strings.Repeat("x", 243) // its presence's name has 255 bytes
	for name, want := range map[string]bool{
		"a": false, "a/b": true, "a/b/c": true, "b/x/c": true, "b/x": false, "d": true, "d/e": false,
		"a/$b": false, "$presence/a/b": false, long: true, long + "x": false,
	} {
		if r.Records(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestNewRefusesPatterns(t *testing.T) {
	log := memlog.Open(nil)
	defer log.Close()
	hub := topic.NewHub(log, nil)
	defer hub.Close()
	for _, text := range []string{"$presence/**", "a/$b", "$x"} {
		if _, err := New(hub, &Options{Patterns: []topic.Pattern{pattern(t, text)}}); err == nil || !strings.Contains(err.Error(), "system's") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := New(hub, &Options{Patterns: make([]topic.Pattern, MaxPatterns+1)}); err == nil || !strings.Contains(err.Error(), "at most 256") {
		t.Error(err)
	}
}

// The rule is that of the topics of joins and leaves, and of no others.
func TestRule(t *testing.T) {
	rules, err := topic.NewRules(Rules(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]time.Duration{"$presence/a": 10 * time.Minute, "$presence/a/b/c": 10 * time.Minute, "a": 0, "$presence": 0, "$nodes/a": time.Minute, "$nodes/a/b": 0} {
		if got := rules.Of(name).RetainAge; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// What is known ends with the recorder: for the next one, all cursors from
// before are lost, that of the end too.
func TestLost(t *testing.T) {
	log := memlog.Open(&memlog.Options{MaxTopics: 2})
	defer log.Close()
	var logged bytes.Buffer
	opts := &Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	open := func() *Recorder {
		hub := topic.NewHub(log, nil)
		t.Cleanup(hub.Close)
		r, err := New(hub, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	end := func() topic.Cursor { return topic.Cursor{ID: log.End()} }
	empty := end()
	if open().Lost(empty) || log.End() != empty.ID {
		t.Error("of an empty log, something is lost")
	}
	publish := func(name string) error {
		_, err := log.Append(t.Context(), name, []topic.Draft{{Media: "text/plain"}}, topic.Key{})
		return err
	}
	if err := publish("a"); err != nil {
		t.Fatal(err)
	}
	before := end()
	r := open()
	if !r.Lost(before) || !r.Lost(empty) || r.Lost(end()) || r.Lost(topic.Cursor{}) || (*Recorder)(nil).Lost(before) {
		t.Errorf("%v was the end, now it is %v", before, end())
	}
	if logged.Len() > 0 {
		t.Error(&logged)
	}

	// A log that takes no event does not keep the server from starting.
	log = memlog.Open(&memlog.Options{MaxTopics: 1})
	defer log.Close()
	if err := publish("a"); err != nil {
		t.Fatal(err)
	}
	if r := open(); r.Lost(end()) || !strings.Contains(logged.String(), "too many topics") {
		t.Errorf("logged %s", &logged)
	}
}

// replaced is a log in whose place another one comes.
type replaced struct {
	topic.Log
	watcher func([]*topic.Entry)
}

func (l *replaced) Watch(f func([]*topic.Entry)) topic.ID {
	l.watcher = f
	return l.Log.Watch(f)
}

// Who is here is on the topic in the new log, too, and whoever has read of it in
// the old one is told of a gap.
func TestLogIsReplaced(t *testing.T) {
	var log *replaced
	wrap := func(old topic.Log) topic.Log {
		log = &replaced{Log: old}
		return log
	}
	bubble(t, nil, wrap, func(t *testing.T, h *house) {
		h.join("room/1", "ada")
		h.want("0s room/1 +ada")
		gone := h.join("room/1", "bob")
		h.at(time.Second)
		h.want("100ms room/1 +bob")
		gone.End()
		h.at(2 * time.Second)
		later := memlog.Open(nil)
		t.Cleanup(func() { later.Close() })
		old := log.Log
		t.Cleanup(func() { old.Close() })
		log.Log = &watched{later, h.note}
		log.Log.Watch(log.watcher)
		log.watcher(nil)
		h.at(4 * time.Second)
		h.wantMembers("room/1", "ada", "bob")
		h.at(10 * time.Second)
		h.wantMembers("room/1", "ada")
		if s := h.Snapshot("room/1", "", 10); s.Cursor.ID != later.End() {
			t.Errorf("cursor %v, want %v", s.Cursor, later.End())
		}
	})
}
