package view_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/duplexhq/duplex/internal/h2"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view"
)

// BenchmarkFanOut measures what an event costs the server for each of 100 event
// streams: CPU time of this process, as getrusage has it; the clients are
// another. The next event is published when all have the last. It also tells
// how much memory a stream takes that waits.
//
//	go test -run '^$' -bench FanOut -benchtime 2000x ./view
//	FANOUT_STREAMS=10000 go test -run '^$' -bench 'FanOut/.*/100-' -benchtime 10x ./view
func BenchmarkFanOut(b *testing.B) {
	all, err := strconv.Atoi(cmp.Or(os.Getenv("FANOUT_STREAMS"), "100"))
	if err != nil {
		b.Fatal(err)
	}
	for _, served := range []string{"own", "net-http", "HTTP1"} {
		for _, streams := range []int{100, 1} {
			for _, secure := range []bool{false, true} {
				if served == "HTTP1" && (streams > 1 || secure) {
					continue
				}
				name := fmt.Sprintf("%s/%d-streams-each", served, streams)
				if secure {
					name += "/TLS"
				}
				b.Run(name, func(b *testing.B) { benchFanOut(b, served, all/streams, streams, secure) })
			}
		}
	}
}

type noLease struct{}

func (noLease) Return(conn net.Conn, _ int64) { conn.Close() }
func (noLease) Over(int64)                    {}

type connKey struct{}

// softListener is as the server's.
type softListener struct {
	net.Listener
	config *tls.Config
}

func (l softListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil && l.config != nil {
		conn = tls.Server(h2.Soften(conn), l.config)
	}
	return conn, err
}

func benchFanOut(b *testing.B, served string, conns, streams int, secure bool) {
	log := memlog.Open(nil)
	defer log.Close()
	hub := topic.NewHub(log, nil)
	opts := &view.Options{}
	opts.Take = func(_ http.ResponseWriter, r *http.Request) (net.Conn, view.Lease) {
		return r.Context().Value(connKey{}).(net.Conn), noLease{}
	}
	if served == "own" {
		opts.TakeStream = func(http.ResponseWriter, *http.Request) view.Lease { return noLease{} }
	}
	h, err := view.New(hub, opts)
	if err != nil {
		b.Fatal(err)
	}
	certified := httptest.NewUnstartedServer(nil)
	certified.EnableHTTP2 = true
	certified.StartTLS()
	defer certified.Close()
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	own := h2.New(nil)
	if served == "own" {
		own.Configure(s, func(context.Context) func() { return func() {} })
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	soft := softListener{Listener: l}
	if secure {
		soft.config = &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}}
	}
	go s.Serve(soft)
	defer func() {
		hub.Close()
		own.Close()
		s.Close()
	}()

	before := inUse()
	child := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestFanOutClients$")
	child.Env = append(os.Environ(), "FANOUT="+strings.Join([]string{l.Addr().String(), served, strconv.Itoa(conns), strconv.Itoa(streams), strconv.FormatBool(secure)}, " "))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	told := make([]byte, 1)
	await := func() {
		if _, err := io.ReadFull(out, told); err != nil {
			b.Fatal(err)
		}
	}
	publish := func() {
		data := bytes.Repeat([]byte("x"), 128)
		if _, err := hub.Publish(b.Context(), "a", []topic.Draft{{Data: data, Media: "text/plain"}}, topic.Key{}); err != nil {
			b.Fatal(err)
		}
		await()
	}
	await()
	for hub.Stats().Subscribers < conns*streams {
		time.Sleep(time.Millisecond)
	}
	for range 100 {
		publish()
	}
	begun := cpu()
	b.ResetTimer()
	for b.Loop() {
		publish()
	}
	b.StopTimer()
	used := cpu() - begun
	deliveries := float64(b.N * conns * streams)
	b.ReportMetric(float64(used.Nanoseconds())/1e3/deliveries, "cpu-µs/delivery")
	b.ReportMetric(float64(inUse()-before)/float64(conns*streams), "B/stream")
	b.ReportMetric(0, "ns/op")
}

// inUse is what is left of the memory of this process when nothing moves.
func inUse() int64 {
	time.Sleep(100 * time.Millisecond)
	for range 3 { // pools are empty after the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // it cannot fail
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestFanOutClients is the process of the clients.
func TestFanOutClients(t *testing.T) {
	plan := strings.Fields(os.Getenv("FANOUT"))
	if len(plan) == 0 {
		return
	}
	conns, _ := strconv.Atoi(plan[2])
	streams, _ := strconv.Atoi(plan[3])
	got := make(chan int, 1024)
	for range conns {
		conn, err := net.Dial("tcp", plan[0])
		if err != nil {
			t.Fatal(err)
		}
		if plan[4] == "true" {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		if plan[1] == "HTTP1" {
			fmt.Fprintf(conn, "GET /topics/a?as=sse HTTP/1.1\r\nHost: a\r\n\r\n")
		} else {
			subscribeOverHTTP2(conn, streams)
		}
		go countEvents(conn, plan[1] != "HTTP1", got)
	}
	total, each := 0, conns*streams
	for n := range got {
		for range n {
			if total++; total%each == 0 { // the first one is a ping
				os.Stdout.Write([]byte{'.'})
			}
		}
	}
}

func subscribeOverHTTP2(w io.Writer, streams int) {
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	framer.WriteWindowUpdate(0, 1<<31-1-65535)
	for i := range streams {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/topics/a?as=sse"}} {
			encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true})
		}
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	w.Write(out.Bytes())
}

// countEvents counts empty lines that end events, of all streams: no event is
// in two frames here.
func countEvents(conn net.Conn, framed bool, got chan<- int) {
	r := bufio.NewReaderSize(conn, 64<<10)
	if !framed {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 1 { // not that of a chunk, or the header's
				got <- 1
			}
		}
	}
	var head [9]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		payload := make([]byte, length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		if _ = binary.BigEndian.Uint32(head[5:]); head[3] == 0 {
			if n := bytes.Count(payload, []byte("\n\n")); n > 0 {
				got <- n
			}
		}
	}
}
