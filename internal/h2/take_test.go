package h2_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/duplexhq/duplex/internal/h2"
)

// A keeper takes streams, and notes what it is told.
type keeper struct {
	mu      sync.Mutex // guards what follows
	streams map[string]*kept
}

type kept struct {
	*h2.Stream
	drained, closed int
	err             error
	keeper          *keeper
}

func (k *kept) Drained() {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	k.drained++
}

func (k *kept) Closed(err error) {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	k.closed++
	k.err = err
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one := &kept{keeper: k}
	if _, ok := h2.Take(w, one); ok {
		panic("before the header")
	}
	w.(http.Flusher).Flush()
	var ok bool
	if one.Stream, ok = h2.Take(w, one); !ok {
		_, _ = w.Write([]byte("not taken"))
		return
	}
	if _, ok := h2.Take(w, one); ok {
		panic("twice")
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
		panic(err)
	}
	k.mu.Lock()
	k.streams[r.URL.Path] = one
	k.mu.Unlock()
	one.Start()
}

// told is what a stream was told.
func (k *kept) told() (drained, closed int) {
	synctest.Wait()
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	return k.drained, k.closed
}

func withKeeper(t *testing.T, options h2.Options, test func(t *testing.T, s *site, k *keeper)) {
	t.Helper()
	k := &keeper{streams: make(map[string]*kept)}
	within(t, options, k.ServeHTTP, func(t *testing.T, s *site) { test(t, s, k) })
}

func TestTake(t *testing.T) {
	withKeeper(t, h2.Options{}, func(t *testing.T, s *site, k *keeper) {
		p := s.dial(t)
		p.request(1, "GET", "/a", true)
		p.want("HEADERS 200")
		a := k.streams["/a"]
		taken, later := a.Write([]byte("one"), []byte("two")) // alone: at once
		if p.want("DATA, DATA"); !taken || later != nil {
			t.Error(taken, later)
		}
		a.Finish([]byte("end"))
		p.want("DATA END")
		if drained, closed := a.told(); drained != 0 || closed != 1 || a.err != nil || p.data[1] != "onetwoend" {
			t.Error(drained, closed, a.err, p.data)
		}
		if taken, later := a.Write([]byte("late")); !taken || later != nil {
			t.Error(taken, later)
		}
		p.request(3, "POST", "/b", false) // its body is not read
		p.want("HEADERS 200, DATA END, RST_STREAM NO_ERROR")
		if p.data[3] != "not taken" {
			t.Error(p.data)
		}
	})
}

// What several streams are given leaves together.
func TestSharedWrite(t *testing.T) {
	withKeeper(t, h2.Options{}, func(t *testing.T, s *site, k *keeper) {
		p := s.dial(t)
		for i, path := range []string{"/a", "/b", "/c"} {
			p.request(uint32(2*i+1), "GET", path, true)
			p.want("HEADERS 200")
		}
		_, first := k.streams["/a"].Write([]byte("a"))
		_, second := k.streams["/b"].Write([]byte("b"))
		third := k.streams["/c"].Finish([]byte("c"))
		if first == nil || second != nil || third != nil {
			t.Error("one flush is for all")
		}
		p.want("")
		first.Flush()
		p.want("DATA, DATA, DATA END")
		if _, again := k.streams["/b"].Write([]byte("b")); again == nil {
			t.Error("and the next one for the next")
		}
	})
}

// A stream whose client takes nothing is told when it goes on, and cut when that
// takes too long. Others do not notice.
func TestTakenAndStalled(t *testing.T) {
	withKeeper(t, h2.Options{WriteTimeout: 30 * time.Second, Ping: time.Hour}, func(t *testing.T, s *site, k *keeper) {
		p := s.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		p.request(1, "GET", "/a", true)
		p.request(3, "GET", "/b", true)
		p.want("HEADERS 200, HEADERS 200")
		a, b := k.streams["/a"], k.streams["/b"]
		if taken, _ := a.Write([]byte("hello, "), []byte("world")); taken {
			t.Error("beyond the window")
		}
		p.want("DATA")
		if taken, later := b.Write([]byte("hello")); !taken {
			t.Error("its sibling")
		} else {
			later.Flush()
		}
		p.want("DATA")
		time.Sleep(29 * time.Second)
		p.WriteWindowUpdate(1, 3) // it moves
		synctest.Wait()
		time.Sleep(29 * time.Second)
		if drained, _ := a.told(); drained != 0 {
			t.Error("drained")
		}
		p.WriteWindowUpdate(1, 100)
		if drained, _ := a.told(); drained != 1 || p.data[1] != "hello, world" {
			t.Error(drained, p.data)
		}
		p.got()
		if taken, _ := b.Write([]byte("x")); taken {
			t.Error("beyond the window")
		}
		b.Finish([]byte("y")) // does not wait for its turn
		time.Sleep(29 * time.Second)
		p.want("")
		time.Sleep(time.Second)
		p.want("RST_STREAM CANCEL")
		if _, closed := b.told(); closed != 1 || b.err == nil {
			t.Error(closed, b.err)
		}
		if _, closed := a.told(); closed != 0 {
			t.Error("the other")
		}
	})
}

// However a taken stream ends, its owner is told once.
func TestTakenAndReset(t *testing.T) {
	withKeeper(t, h2.Options{}, func(t *testing.T, s *site, k *keeper) {
		p := s.dial(t)
		for i, path := range []string{"/client", "/server", "/connection"} {
			p.request(uint32(2*i+1), "GET", path, true)
		}
		synctest.Wait()
		p.WriteRSTStream(1, http2.ErrCodeCancel)
		if _, closed := k.streams["/client"].told(); closed != 1 {
			t.Error("by the client")
		}
		p.got()
		k.streams["/server"].Reset()
		if p.want("RST_STREAM CANCEL"); k.streams["/server"].closed != 1 {
			t.Error("by the server")
		}
		k.streams["/server"].Reset()
		p.want("")
		if _, closed := k.streams["/connection"].told(); closed != 0 {
			t.Error("the other")
		}
		p.conn.Close()
		if _, closed := k.streams["/connection"].told(); closed != 1 || k.streams["/connection"].err == nil {
			t.Error("by the connection")
		}
		for path, one := range k.streams {
			if one.Finish([]byte("late")); one.closed != 1 {
				t.Errorf("%s: %d times", path, one.closed)
			}
		}
	})
}

// What is given before Start is sent, and told afterwards.
func TestBeforeStart(t *testing.T) {
	var one *kept
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		one = &kept{keeper: &keeper{}}
		one.Stream, _ = h2.Take(w, one)
		one.Write([]byte(strings.Repeat("x", 100)))
	}, func(t *testing.T, s *site) {
		p := s.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		p.request(1, "GET", "/", true)
		p.want("HEADERS 200, DATA")
		p.WriteWindowUpdate(1, 100)
		p.want("DATA")
		if drained, closed := one.told(); drained+closed != 0 {
			t.Error("told before it has started")
		}
		one.Start()
		if drained, closed := one.told(); drained != 1 || closed != 0 {
			t.Error(drained, closed)
		}
	})
}
