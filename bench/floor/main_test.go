//go:build linux

package main

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// start runs a floor until the process ends: it has no way to stop.
func start(t *testing.T, work string, flags ...string) load.Options {
	t.Helper()
	r, w := io.Pipe()
	args := append([]string{"-work", work, "-listen", "127.0.0.1:0"}, flags...)
	go func() { w.CloseWithError(run(args, w)) }()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return load.Options{
		Address:  strings.TrimSpace(strings.TrimPrefix(line, "listening on ")),
		Settle:   10 * time.Millisecond,
		Warmup:   10 * time.Millisecond,
		Duration: 30 * time.Second,
		Messages: 50,
	}
}

func check(t *testing.T, r *load.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults() != "" || r.Messages < 50 {
		t.Errorf("%d messages, faults: %s", r.Messages, r.Faults())
	}
}

func TestEcho(t *testing.T) {
	options := start(t, "echo")
	for _, bytes := range []int{32, 1 << 20} { // the second does not fit a socket
		r, err := load.Echo(t.Context(), load.EchoOptions{Options: options, Transport: load.Raw, Connections: 5, Bytes: bytes, Window: 4})
		check(t, r, err)
	}
}

func TestFanout(t *testing.T) {
	options := start(t, "fanout")
	for range 2 { // the second time, the first members have left
		r, err := load.Broadcast(t.Context(), load.BroadcastOptions{Options: options, Transport: load.Raw, Connections: 20, Publishers: 2, Bytes: 128, Window: 8})
		check(t, r, err)
	}
}

func TestHub(t *testing.T) {
	for _, flags := range [][]string{nil, {"-coalesce"}, {"-threads", "3"}, {"-threads", "2", "-coalesce"}} {
		options := start(t, "hub", flags...)
		for _, bytes := range []int{100, 200, 70_000} { // lengths of frames are written in three ways
			r, err := load.Topic(t.Context(), load.TopicOptions{
				Options: options, Dialect: load.Hub, Transports: []load.Transport{load.SSE, load.WebSocket}, Subscribers: 11, Publishers: 3, Bytes: bytes, Window: 8,
			})
			check(t, r, err)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"-work nothing", "-listen 127.0.0.1:x", "-nothing", "-work hub -threads 0"} {
		if run(strings.Fields(args), io.Discard) == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
