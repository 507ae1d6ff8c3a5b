//go:build linux

package main

import (
	"context"
	"fmt"
	"math"

	"github.com/duplexhq/duplex/internal/load"
)

// group is a table for each of its metrics; its works are the columns.
type group struct {
	name    string
	title   string
	works   []work
	metrics []metric
}

type work struct {
	name    string
	floor   string // what the floor is to do
	deflate bool
	run     func(context.Context, load.Transport, load.Options) (*load.Report, error)
}

// metric is one figure of a report.
type metric struct {
	title  string
	of     func(*load.Report) float64
	format func(float64) string
	lowest bool // show the lowest run beside the median
	full   bool // mark it if the generator had no time left: more may have been possible
}

var (
	cpuPerMessage = metric{
		title:  "server CPU, µs per message",
		of:     func(r *load.Report) float64 { return float64(r.CPUPerMessage()) / 1e3 },
		format: decimals(2),
		lowest: true,
	}
	thousands = metric{
		title:  "thousand messages/s",
		of:     func(r *load.Report) float64 { return r.Rate() / 1e3 },
		format: decimals(0),
		full:   true,
	}
)

func latency(title string, q float64) metric {
	return metric{
		title:  title + ", ms",
		of:     func(r *load.Report) float64 { return r.Latency.Quantile(q).Seconds() * 1e3 },
		format: decimals(2),
	}
}

func decimals(n int) func(float64) string {
	return func(v float64) string { return fmt.Sprintf("%.*f", n, v) }
}

func groupNames() []string { return []string{"echo", "rate", "deflate", "fanout", "idle"} }

// groups gives everything that can be run.
func groups(quick bool) []group {
	echo := []work{echoWork(1000, 32, 1), echoWork(100, 32, 16), echoWork(100, 64<<10, 1)}
	fanout := []work{fanoutWork(1000, 1), fanoutWork(1000, 8)}
	idle := 5000
	if !quick {
		echo = []work{
			echoWork(100, 32, 1), echoWork(1000, 32, 1), echoWork(10_000, 32, 1),
			echoWork(100, 1024, 1), echoWork(1000, 1024, 1), echoWork(100, 64<<10, 1), echoWork(100, 32, 16),
		}
		fanout = append(fanout, fanoutWork(10_000, 1), fanoutWork(10_000, 8))
		idle = 19_500
	}
	return []group{
		{"echo", "Echo", echo, []metric{cpuPerMessage, thousands, latency("p99", 0.99)}},
		{"rate", "Echo at a fixed rate", []work{{
			name:  "1k × 32 B, 20,000/s",
			floor: "echo",
			run: func(ctx context.Context, via load.Transport, o load.Options) (*load.Report, error) {
				return load.Echo(ctx, load.EchoOptions{Options: o, Transport: via, Connections: 1000, Bytes: 32, Rate: 20_000})
			},
		}}, []metric{latency("p50", 0.5), latency("p99", 0.99), latency("p99.9", 0.999), cpuPerMessage}},
		{"deflate", "Echo with permessage-deflate", []work{{
			name:    "100 × 4 KiB like JSON",
			deflate: true,
			run: func(ctx context.Context, via load.Transport, o load.Options) (*load.Report, error) {
				return load.Echo(ctx, load.EchoOptions{Options: o, Transport: via, Connections: 100, Bytes: 4096, Text: true, Deflate: true})
			},
		}}, []metric{cpuPerMessage, thousands, latency("p99", 0.99)}},
		{"fanout", "Broadcast of 128 B; a message is one delivery", fanout, []metric{cpuPerMessage, thousands, {
			title:  "from publishing until the last connection has it, p50, ms",
			of:     func(r *load.Report) float64 { return r.Complete.Quantile(0.5).Seconds() * 1e3 },
			format: decimals(1),
		}}},
		{"idle", "Idle connections", []work{idleWork(idle, 0), idleWork(idle, 1024)}, []metric{{
			title: "resident bytes of the server per connection",
			of: func(r *load.Report) float64 {
				_, after := r.RSSPerConnection()
				return math.Max(float64(after), 0)
			},
			format: decimals(0),
		}}},
	}
}

func echoWork(connections, bytes, window int) work {
	name := fmt.Sprintf("%s × %s", short(connections), size(bytes))
	if window > 1 {
		name += fmt.Sprintf(", %d in flight", window)
	}
	return work{name: name, floor: "echo", run: func(ctx context.Context, via load.Transport, o load.Options) (*load.Report, error) {
		return load.Echo(ctx, load.EchoOptions{Options: o, Transport: via, Connections: connections, Bytes: bytes, Window: window})
	}}
}

func fanoutWork(connections, window int) work {
	return work{
		name:  fmt.Sprintf("%s, W%d", short(connections), window),
		floor: "fanout",
		run: func(ctx context.Context, via load.Transport, o load.Options) (*load.Report, error) {
			return load.Broadcast(ctx, load.BroadcastOptions{Options: o, Transport: via, Connections: connections, Bytes: 128, Window: window})
		},
	}
}

func idleWork(connections, touch int) work {
	name := short(connections) + " untouched"
	if touch > 0 {
		name = fmt.Sprintf("%s, %s echoed", short(connections), size(touch))
	}
	return work{name: name, floor: "echo", run: func(ctx context.Context, via load.Transport, o load.Options) (*load.Report, error) {
		o.Warmup = -1 // there is nothing to warm up
		return load.Idle(ctx, load.IdleOptions{Options: o, Transport: via, Connections: connections, TouchBytes: touch})
	}}
}

func short(n int) string {
	if n >= 1000 {
		return fmt.Sprintf("%gk", float64(n)/1000)
	}
	return fmt.Sprint(n)
}

func size(bytes int) string {
	if bytes >= 1024 {
		return fmt.Sprintf("%d KiB", bytes/1024)
	}
	return fmt.Sprintf("%d B", bytes)
}
