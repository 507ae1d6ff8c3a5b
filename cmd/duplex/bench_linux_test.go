package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// The bench starts its own program as a server: in a test, that is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], &console{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// Everything, with few subscribers: nothing may be lost or doubled, and no
// server may be left behind.
func TestBench(t *testing.T) {
	chart := filepath.Join(t.TempDir(), "bench.svg")
	args := []string{"bench", "--subscribers", "8", "--duration", "20ms", "--rate", "200", "--topics", "3", "--missed", "5", "--as", "sse+websocket+longpoll", "--svg", chart}
	out, err := duplex(t, exitDone, "", args...)
	if err != "" {
		t.Errorf("not a terminal, but told %q", err)
	}
	for _, want := range []string{"Fan-out to 8 subscribers", "One event at a time", "200 events/s", "Publishing", "Memory", "reconnect at once", "stop reading", "3 topics each", "sse+websocket+longpoll"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	svg, e := os.ReadFile(chart)
	if e != nil {
		t.Fatal(e)
	}
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for e == nil {
		_, e = decoder.Token()
	}
	if !errors.Is(e, io.EOF) {
		t.Errorf("chart: %v", e)
	}
	if _, e := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); e != syscall.ECHILD {
		t.Errorf("there are still child processes: %v", e)
	}
}

func TestBenchURL(t *testing.T) {
	url := serve(t)
	measure := func(duration time.Duration) (deliveries []uint64) {
		out, _ := duplex(t, exitDone, "", "bench", "fanout", "slow", "--url", url, "--subscribers", "4", "--duration", duration.String(), "--as", "duplex.v1,stream", "--json")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines:\n%s", len(lines), out)
		}
		for i, want := range []string{"fanout duplex.v1", "fanout stream", "slow sse+duplex.v1"} {
			var f load.Figures
			if err := json.Unmarshal([]byte(lines[i]), &f); err != nil {
				t.Fatal(err)
			}
			if f.Work+" "+f.Transport != want || f.Subscribers != 4 || f.CPU != 0 || f.RSSBefore != 0 {
				t.Errorf("%s: %+v", want, f)
			}
			deliveries = append(deliveries, f.Deliveries)
		}
		return deliveries
	}
	// A busy machine may give nothing any time at first.
	duration := 20 * time.Millisecond
	for slices.Contains(measure(duration), 0) {
		if duration *= 2; duration > 10*time.Second {
			t.Fatal("nothing is delivered")
		}
	}
}

func TestBenchUsage(t *testing.T) {
	for args, want := range map[string]string{
		"nothing":                           `no work is called "nothing"`,
		"--as raw":                          "no transport is called",
		"--subscribers 1":                   "--subscribers 1: from 2 to 1000000",
		"--bytes 15":                        "--bytes 15: from 16",
		"--duration 1h":                     "--duration 1h0m0s: from",
		"--rate 0":                          "--rate",
		"--pid 1":                           "are about the server of --url",
		"--url https://localhost":           "plain HTTP",
		"--url http://localhost:1/topics/x": "want only a host and a port",
		"--batch 1001":                      "--batch 1001: from 1 to 1000",
	} {
		if _, err := duplex(t, exitUsage, "", append([]string{"bench"}, strings.Fields(args)...)...); !strings.Contains(err, want) {
			t.Errorf("%s: %q, want %q", args, err, want)
		}
	}
}

func TestBenchFails(t *testing.T) {
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"--url http://127.0.0.1:1", exitUnreached, "not reached"},
		{"--url http://192.0.2.1", exitFailed, "--remote"},
		{"--subscribers 500000", exitFailed, "ulimit -Hn"},
		{"fanout --url http://127.0.0.1:1 --pid 1073741824", exitFailed, "1073741824"},
	} {
		_, err := duplex(t, test.code, "", append([]string{"bench"}, strings.Fields(test.args)...)...)
		if !strings.Contains(err, test.want) {
			t.Errorf("%s: %q, want %q", test.args, err, test.want)
		}
	}
}
