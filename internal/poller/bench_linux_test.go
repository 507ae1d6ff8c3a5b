package poller_test

import (
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/duplexhq/duplex/internal/poller"
)

// BenchmarkEcho has 1,000 connections echo 32 bytes in a closed loop: through
// the poller, and through a goroutine for each. cpu-ns/op is the server's.
func BenchmarkEcho(b *testing.B) {
	const conns = 1000
	for _, inFlight := range []int{1, 16} {
		b.Run(fmt.Sprintf("poller/%d", inFlight), func(b *testing.B) {
			p := newPoller(b, 0)
			measure(b, newLoad(b, conns, inFlight, adopter(b, p)), conns)
		})
		b.Run(fmt.Sprintf("goroutines/%d", inFlight), func(b *testing.B) {
			var serving sync.WaitGroup
			b.Cleanup(serving.Wait) // after the load has ended
			measure(b, newLoad(b, conns, inFlight, func(conn net.Conn) {
				serving.Go(func() { echoGoroutine(conn) })
			}), conns)
		})
	}
}

// BenchmarkIdle tells what 9,500 idle connections cost in user space: each
// with a handler of its own, which has 64 bytes. Touched ones have echoed.
func BenchmarkIdle(b *testing.B) {
	const conns = 9500
	for _, touched := range []bool{false, true} {
		b.Run(fmt.Sprintf("touched=%v", touched), func(b *testing.B) {
			p := newPoller(b, 0)
			newLoad(b, 100, 1, adopter(b, p)) // what is there once
			debug.FreeOSMemory()
			before := resident(b)
			l := newLoad(b, conns, 1, adopter(b, p))
			if touched {
				l.run(conns)
			}
			natural := resident(b)
			debug.FreeOSMemory()
			for b.Loop() { // it is a state that is measured, and no time
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric((natural-before)/conns, "B/conn")
			b.ReportMetric((resident(b)-before)/conns, "B/conn-after-gc")
		})
	}
}

// adopter gives each connection a handler of 64 bytes.
func adopter(b *testing.B, p *poller.Poller) func(net.Conn) {
	type session struct {
		hooks
		_ [32]byte
	}
	return func(conn net.Conn) {
		c, err := p.Adopt(conn, &session{hooks: hooks{data: echoFrames}}, nil, nil)
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			b.Error(err)
		}
	}
}

// resident gives the process's memory in bytes.
func resident(b *testing.B) float64 {
	b.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return float64(pages * os.Getpagesize())
}

// echoFrames answers frame by frame, as a protocol does.
func echoFrames(c *poller.Conn, p []byte) {
	for len(p) > 0 {
		n := min(len(p), frameBytes)
		if _, err := c.WriteLent(p[:n]); err != nil {
			return
		}
		p = p[n:]
	}
}

func echoGoroutine(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		for p := buf[:n]; len(p) > 0; {
			k := min(len(p), frameBytes)
			if _, err := conn.Write(p[:k]); err != nil {
				return
			}
			p = p[k:]
		}
	}
}

// measure runs the load after it has warmed up.
func measure(b *testing.B, l *load, conns int) {
	l.run(10 * conns)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	l.run(b.N)
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime gives the nanoseconds that this process has computed.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
