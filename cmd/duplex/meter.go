package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
)

// A meter shows how many events have gone through and how fast: each second
// if a person looks on, and once at the end.
type meter struct {
	count    atomic.Int64
	out      io.Writer
	terminal bool
	began    time.Time
	done     chan struct{}
	ticking  sync.WaitGroup
}

func newMeter(out io.Writer) *meter {
	m := &meter{out: out, terminal: stdio.IsTerminal(out), began: time.Now(), done: make(chan struct{})}
	if m.terminal {
		m.ticking.Go(m.tick)
	}
	return m
}

// tick ends when done is closed. Joined by stop.
func (m *meter) tick() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var before int64
	for {
		select {
		case <-m.done:
			fmt.Fprint(m.out, stdio.EraseLine) // the summary takes the line
			return
		case <-ticker.C:
			now := m.count.Load()
			fmt.Fprintf(m.out, "%s%d events, %d/s", stdio.EraseLine, now, now-before)
			before = now
		}
	}
}

// stop prints the summary.
func (m *meter) stop() {
	close(m.done)
	m.ticking.Wait()
	took := time.Since(m.began)
	n := m.count.Load()
	fmt.Fprintf(m.out, "%d events in %v, %.0f/s\n", n, took.Round(time.Millisecond), float64(n)/max(took.Seconds(), 1e-9))
}
