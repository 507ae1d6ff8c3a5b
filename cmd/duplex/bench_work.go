//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// benchWork is a kind of load, and what there is to say about it.
type benchWork struct {
	name    string
	title   func(*benchCommand) string
	runs    func(*benchCommand) []benchRun
	columns []benchColumn
	chart   benchColumn // what the bars are
}

// benchRun is one measurement.
type benchRun struct {
	label string
	do    func(context.Context, load.Options) (*load.Report, error)
}

type benchColumn struct {
	title string
	text  func(*load.Report) string
	value func(*load.Report) float64 // of the chart only
}

func benchNames() []string {
	var names []string
	for _, w := range benchWorks {
		names = append(names, w.name)
	}
	return names
}

var (
	deliveries = benchColumn{"deliveries/s", func(r *load.Report) string { return thousands(r.Rate()) }, (*load.Report).Rate}
	cpu        = benchColumn{title: "server CPU", text: func(r *load.Report) string {
		if r.Server.RSSBefore == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f µs", float64(r.CPUPerMessage())/1e3)
	}}
	onTheWire = benchColumn{title: "bytes each", text: func(r *load.Report) string { return fmt.Sprintf("%.0f", r.BytesPerMessage()) }}
	p50       = latencyColumn("p50", 0.5)
	p99       = latencyColumn("p99", 0.99)
	p999      = latencyColumn("p99.9", 0.999)
	generator = benchColumn{title: "load's CPU", text: func(r *load.Report) string {
		return fmt.Sprintf("%.0f %%", 100*r.Generator.Seconds()/max(r.Elapsed.Seconds(), 1e-9))
	}}
	faults = benchColumn{title: "lost or doubled", text: func(r *load.Report) string {
		if f := r.Faults(); f != "" {
			return f
		}
		return "0"
	}}
)

func latencyColumn(title string, q float64) benchColumn {
	return benchColumn{
		title: title,
		text:  func(r *load.Report) string { return quantile(&r.Latency, q) },
		value: func(r *load.Report) float64 { return r.Latency.Quantile(q).Seconds() * 1e3 },
	}
}

// benchWorks are all of them, in the order in which they are run.
var benchWorks = []benchWork{
	{
		name: "fanout",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("Fan-out to %s subscribers, %d bytes, up to %d events under way", thousands(float64(c.Subscribers)), c.Bytes, c.Window)
		},
		runs: func(c *benchCommand) []benchRun {
			return c.perTransport(func(o *load.TopicOptions) { o.Publishers, o.Window = c.Publishers, c.Window })
		},
		columns: []benchColumn{deliveries, cpu, p50, p99, p999, onTheWire, generator, faults},
		chart:   deliveries,
	},
	{
		name: "single",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("One event at a time to %s subscribers, %d bytes", thousands(float64(c.Subscribers)), c.Bytes)
		},
		runs:    func(c *benchCommand) []benchRun { return c.perTransport(func(*load.TopicOptions) {}) },
		columns: []benchColumn{deliveries, cpu, p50, p99, p999, onTheWire, generator, faults},
		chart:   deliveries,
	},
	{
		name: "paced",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("%g events/s to %s subscribers, %d bytes", c.Rate, thousands(float64(c.Subscribers)), c.Bytes)
		},
		runs: func(c *benchCommand) []benchRun {
			return c.perTransport(func(o *load.TopicOptions) { o.Rate, o.Duration = c.Rate, 3*c.Duration })
		},
		columns: []benchColumn{p50, p99, p999, cpu, faults},
		chart:   p99,
	},
	{
		name:  "publish",
		title: func(c *benchCommand) string { return fmt.Sprintf("Publishing, %d bytes", c.Bytes) },
		runs:  (*benchCommand).publishRuns,
		columns: []benchColumn{
			{"events/s", func(r *load.Report) string { return thousands(answeredRate(r)) }, answeredRate},
			{title: "server CPU", text: func(r *load.Report) string {
				if r.Server.RSSBefore == 0 {
					return "-"
				}
				return fmt.Sprintf("%.2f µs", float64(r.Server.CPU)/1e3/float64(max(r.Answers, 1)))
			}},
			{title: "answer p50", text: func(r *load.Report) string { return quantile(&r.Answered, 0.5) }},
			{title: "answer p99", text: func(r *load.Report) string { return quantile(&r.Answered, 0.99) }},
			generator, faults,
		},
		chart: benchColumn{"events/s", func(r *load.Report) string { return thousands(answeredRate(r)) }, answeredRate},
	},
	{
		name: "idle",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("Memory of the server for each of %s subscribers", thousands(float64(c.Subscribers)))
		},
		runs: func(c *benchCommand) []benchRun {
			return c.perTransport(func(o *load.TopicOptions) {
				o.Events, o.Warmup = idleEvents, -1
				o.Settle, o.Rest, o.Duration = 2*c.Duration, 2*c.Duration, maxBenchDuration
			})
		},
		columns: []benchColumn{
			{title: "untouched", text: func(r *load.Report) string { idle, _ := r.RSSPerConnection(); return memory(r, idle) }},
			{title: fmt.Sprintf("after %d events", idleEvents), text: func(r *load.Report) string { _, after := r.RSSPerConnection(); return memory(r, after) }},
			{title: "server alone", text: func(r *load.Report) string { return memory(r, r.Server.RSSBefore) }},
			faults,
		},
		chart: benchColumn{"KiB for each subscriber, after events", func(r *load.Report) string { _, after := r.RSSPerConnection(); return memory(r, after) },
			func(r *load.Report) float64 { _, after := r.RSSPerConnection(); return float64(after) / 1024 }},
	},
	{
		name: "resume",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("%s subscribers reconnect at once and catch up with %d events each, %d bytes", thousands(float64(c.Subscribers)), c.Missed, c.Bytes)
		},
		runs: func(c *benchCommand) []benchRun {
			runs := c.perTransport(nil)
			// Streams of one connection cannot be cut each alone.
			runs = slices.DeleteFunc(runs, func(run benchRun) bool { return strings.Contains(run.label, load.SSEOverHTTP2.String()) })
			for i := range runs {
				options := c.topicOptions(runs[i].label)
				runs[i].do = func(ctx context.Context, o load.Options) (*load.Report, error) {
					options.Options = o
					return load.Resume(ctx, load.ResumeOptions{TopicOptions: options, Missed: c.Missed})
				}
			}
			return runs
		},
		columns: []benchColumn{
			{title: "all have all", text: func(r *load.Report) string { return milliseconds(r.Elapsed) }},
			{title: "half have", text: func(r *load.Report) string { return quantile(&r.Latency, 0.5) }},
			cpu, onTheWire, faults,
		},
		chart: benchColumn{"ms until all have all", func(r *load.Report) string { return milliseconds(r.Elapsed) },
			func(r *load.Report) float64 { return r.Elapsed.Seconds() * 1e3 }},
	},
	{
		name: "slow",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("%d of %d subscribers stop reading for %v, %g × %d bytes/s", c.slowReaders()/2, c.slowReaders(), 6*c.Duration, c.SlowRate, c.slowBytes())
		},
		runs: func(c *benchCommand) []benchRun {
			options := c.topicOptions("sse+sse+duplex.v1+duplex.v1")
			options.Subscribers, options.Bytes, options.Rate = c.slowReaders(), c.slowBytes(), c.SlowRate
			return []benchRun{{"sse+duplex.v1", func(ctx context.Context, o load.Options) (*load.Report, error) {
				options.Options = o
				options.DrainTimeout = 30 * time.Second
				return load.Stall(ctx, load.StallOptions{TopicOptions: options, Before: 2 * c.Duration, Stalled: 6 * c.Duration})
			}}}
		},
		columns: []benchColumn{
			{title: "server for each", text: func(r *load.Report) string { return memory(r, r.Slow.RSSPerReader()) }},
			{title: "kernel for each", text: func(r *load.Report) string { return fmt.Sprintf("%.0f KiB", float64(r.Slow.KernelPerReader())/1024) }},
			{title: "cut", text: func(r *load.Report) string { return strconv.Itoa(r.Slow.Cut) }},
			{title: "recovered", text: func(r *load.Report) string {
				return fmt.Sprintf("%d in %s", r.Slow.Recovered, milliseconds(r.Slow.Recovery))
			}},
			{title: "told missing", text: func(r *load.Report) string { return thousands(float64(r.Told)) }},
			stageColumn("others' p99 before", 0), stageColumn("meanwhile", 1), stageColumn("after", 2),
			faults,
		},
		chart: benchColumn{"KiB of the server's memory for each stalled reader", func(r *load.Report) string { return memory(r, r.Slow.RSSPerReader()) },
			func(r *load.Report) float64 { return float64(r.Slow.RSSPerReader()) / 1024 }},
	},
	{
		name: "topics",
		title: func(c *benchCommand) string {
			return fmt.Sprintf("%s duplex.v1 connections with %d topics each, published to at random, %d bytes", thousands(float64(c.Subscribers)), c.Topics, c.Bytes)
		},
		runs: func(c *benchCommand) []benchRun {
			options := c.topicOptions("duplex.v1")
			options.Publishers, options.Window = c.Publishers, c.Window
			// Each topic has a tenth of the subscribers.
			options.Each, options.Topics = c.Topics, min(10*c.Topics, c.Topics*c.Subscribers)
			options.Publishers = min(options.Publishers, options.Topics)
			return []benchRun{{"duplex.v1", func(ctx context.Context, o load.Options) (*load.Report, error) {
				options.Options = o
				return load.Topic(ctx, options)
			}}}
		},
		columns: []benchColumn{deliveries, cpu, p50, p99, p999, onTheWire, generator, faults},
		chart:   deliveries,
	},
}

// idleEvents are published in idle.
const idleEvents = 20

func stageColumn(title string, stage int) benchColumn {
	return benchColumn{title: title, text: func(r *load.Report) string { return quantile(&r.Stages[stage].Latency, 0.99) }}
}

// slowReaders are fewer than the others: each may take megabytes of the
// kernel's memory.
func (c *benchCommand) slowReaders() int { return min(c.Subscribers, 100) }

func (c *benchCommand) slowBytes() int { return max(int(c.Bytes), 1024) }

// topicOptions gives the options of one run with a mix of transports.
func (c *benchCommand) topicOptions(as string) load.TopicOptions {
	mix, err := load.ParseTransports(as)
	if err != nil {
		panic(err) // Validate has seen it
	}
	return load.TopicOptions{Topic: "bench", Transports: mix, Subscribers: c.Subscribers, Streams: c.Streams, Bytes: int(c.Bytes)}
}

// perTransport gives a run for each item of --as. What change sets of the
// common options wins.
func (c *benchCommand) perTransport(change func(*load.TopicOptions)) (runs []benchRun) {
	for _, as := range c.As {
		options := c.topicOptions(as)
		runs = append(runs, benchRun{as, func(ctx context.Context, o load.Options) (*load.Report, error) {
			options.Options = o
			change(&options)
			return load.Topic(ctx, options)
		}})
	}
	return runs
}

func (c *benchCommand) publishRuns() (runs []benchRun) {
	const connections = 10
	for _, by := range []struct {
		label              string
		by                 load.Publishing
		publishers, window int
	}{
		{"one by one, 10 connections", load.Posts, connections, 1000},
		{fmt.Sprintf("in batches of %d, 10 connections", c.Batch), load.Batches, connections, 10 * c.Batch},
		{"over one WebSocket", load.Socket, 1, 1000},
	} {
		for subscribers := range 2 {
			options := c.topicOptions("sse")
			options.Subscribers, options.Publishers, options.By = subscribers, by.publishers, by.by
			options.Window, options.Batch = by.window, c.Batch
			label := fmt.Sprintf("%s, %d subscribers", by.label, subscribers)
			if subscribers == 1 {
				label = by.label + ", 1 subscriber"
			}
			runs = append(runs, benchRun{label, func(ctx context.Context, o load.Options) (*load.Report, error) {
				options.Options = o
				return load.Topic(ctx, options)
			}})
		}
	}
	return runs
}

func answeredRate(r *load.Report) float64 {
	return float64(r.Answers) / max(r.Elapsed.Seconds(), 1e-9)
}

// memory shows bytes, if the server's memory is known.
func memory(r *load.Report, bytes int64) string {
	if r.Server.RSSBefore == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f KiB", float64(bytes)/1024)
}

// quantile shows a duration of a histogram, if it has any.
func quantile(h *load.Histogram, q float64) string {
	if h.Count() == 0 {
		return "-"
	}
	return milliseconds(h.Quantile(q))
}

// milliseconds shows a duration.
func milliseconds(d time.Duration) string {
	switch ms := d.Seconds() * 1e3; {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return thousands(ms) + " ms"
	}
}

// thousands shows a number with commas.
func thousands(v float64) string {
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
