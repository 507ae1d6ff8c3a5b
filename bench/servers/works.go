//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// work is a table: the servers are its lines, and the metrics its columns.
type work struct {
	name       string
	title      string
	transports []load.Transport // none: it has no subscribers
	allCores   bool             // else the server has one
	history    bool             // the server has to keep what is published
	resumes    bool             // subscribers come back
	burst      bool             // many events are under way at a time
	rounds     int              // at most; 0: as many as asked for
	takes      func(*peer) bool // who takes part; nil: all with one of the transports
	run        func(context.Context, entry, load.Options) (*load.Report, error)
	metrics    []metric // the first is what is drawn
	targets    []target // of ours, or of the entry that they name
}

var (
	sse     = []load.Transport{load.SSE, load.Stream}
	sockets = []load.Transport{load.WebSocket, load.DuplexV1}
	polls   = []load.Transport{load.LongPoll}
)

func workNames() []string {
	var names []string
	for _, w := range works(false, time.Second) {
		names = append(names, w.name)
	}
	return names
}

// works gives everything that can be run, in its order.
func works(quick bool, duration time.Duration) []work {
	thousand, many, most, crowd, stall := 1000, 10_000, 19_000, 2000, 30*time.Second
	if quick {
		many, most, crowd, stall = 2000, 4000, 1000, 3*time.Second
	}
	closed := []metric{rate, cpu, p50, p99, p999, reads, wire, generator}
	paced := []metric{p99, p50, p999, cpu}
	publishing := []metric{answers, answerCPU, answerP50, answerP99, generator}
	notBatches := func(by load.Publishing) func(*peer) bool {
		return func(p *peer) bool { return p.name != nameEmpty && slices.Contains(p.by, by) }
	}
	list := []work{
		{
			name: "sse", title: fmt.Sprintf("Event stream, %s subscribers, 128 B, highest rate", short(thousand)), transports: sse,
			burst: true, run: fanout(thousand, 4, 16), metrics: closed,
			targets: []target{atLeast(rate, 900e3), timesOf(rate, 3.5, nameCentrifugo)},
		},
		{
			name: "websocket", title: fmt.Sprintf("WebSocket, %s subscribers, 128 B, highest rate", short(thousand)), transports: sockets,
			burst: true, run: fanout(thousand, 4, 16), metrics: closed,
			targets: []target{atLeast(rate, 900e3), timesOf(rate, 1, nameCentrifugo)},
		},
		{
			name: "sse-many", title: fmt.Sprintf("Event stream, %s subscribers, 128 B, highest rate", short(many)), transports: []load.Transport{load.SSE},
			burst: true, run: fanout(many, 2, 8), metrics: closed,
			targets: []target{atLeast(rate, 450e3)},
		},
		{
			name: "websocket-many", title: fmt.Sprintf("WebSocket, %s subscribers, 128 B, highest rate", short(many)), transports: []load.Transport{load.WebSocket},
			burst: true, run: fanout(many, 2, 8), metrics: closed,
			targets: []target{atLeast(rate, 450e3)},
		},
		{
			name: "single-sse", title: fmt.Sprintf("Event stream, %s subscribers, one event at a time", short(thousand)), transports: sse,
			run: fanout(thousand, 1, 1), metrics: []metric{cpu, rate, p50, p99, generator},
			targets: []target{atMostOf(cpu, 1.15, nameFloor)},
		},
		{
			name: "single-websocket", title: fmt.Sprintf("WebSocket, %s subscribers, one event at a time", short(thousand)), transports: sockets,
			run: fanout(thousand, 1, 1), metrics: []metric{cpu, rate, p50, p99, generator},
			targets: []target{atMostOf(cpu, 1.15, nameFloor)},
		},
		{
			name: "longpoll", title: fmt.Sprintf("Long-poll, %s subscribers, 128 B, highest rate", short(thousand)), transports: polls, history: true,
			burst: true, run: fanout(thousand, 4, 16), metrics: closed,
			targets: []target{{text: "≥ 0.8 × an empty handler", metric: rate, of: nameEmpty, ofWork: "requests", factor: 0.8}},
		},
		{
			name: "requests", title: fmt.Sprintf("What the long-poll is compared with: %s connections, each asks again when it is answered", short(thousand)),
			takes: func(p *peer) bool { return p.name == nameEmpty },
			run: func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
				return load.Topic(ctx, load.TopicOptions{Options: o, Dialect: e.peer.dialect, Publishers: thousand, Window: thousand, Bytes: 128})
			},
			metrics: []metric{rate, cpu, p50, p99, generator},
		},
		{
			name: "paced-sse", title: fmt.Sprintf("Event stream, 10 events/s to %s subscribers", short(thousand)), transports: sse,
			run: atRate(thousand, 10, 3*duration), metrics: paced,
			targets: []target{atMostOf(p50, 1.1, nameFloor), atMostOf(p99, 1.1, nameFloor)},
		},
		{
			name: "paced-websocket", title: fmt.Sprintf("WebSocket, 10 events/s to %s subscribers", short(thousand)), transports: sockets,
			run: atRate(thousand, 10, 3*duration), metrics: paced,
			targets: []target{atMostOf(p50, 1.1, nameFloor), atMostOf(p99, 1.1, nameFloor)},
		},
		{
			name: "paced-cores", title: fmt.Sprintf("Event stream, 10 events/s to %s subscribers, all cores for all", short(thousand)), transports: []load.Transport{load.SSE}, allCores: true,
			run: atRate(thousand, 10, 3*duration), metrics: paced,
			targets: []target{atMostOf(p50, 1.1, nameFloor), atMostOf(p99, 1.1, nameFloor)},
		},
		{
			name: "publish-0", title: "Publishing by HTTP, 10 connections, 128 B, no subscriber", takes: notBatches(load.Posts),
			run: publish(load.Posts, 10, 1000, 0), metrics: publishing,
			targets: []target{atLeast(answers, 60e3)},
		},
		{
			name: "publish-1", title: "Publishing by HTTP, 10 connections, 128 B, one event stream", takes: notBatches(load.Posts),
			run: publish(load.Posts, 10, 1000, 1), metrics: publishing,
			targets: []target{atLeast(answers, 45e3)},
		},
		{
			name: "batches", title: "Publishing in batches of 100, 10 connections, 128 B, no subscriber", takes: notBatches(load.Batches),
			run: publish(load.Batches, 10, 1000, 0), metrics: publishing,
			targets: []target{atLeast(answers, 400e3)},
		},
		{
			name: "batches-1", title: "Publishing in batches of 100, 10 connections, 128 B, one event stream", takes: notBatches(load.Batches),
			run: publish(load.Batches, 10, 1000, 1), metrics: publishing,
		},
		{
			name: "socket", title: "Publishing over one WebSocket, 128 B, no subscriber", takes: notBatches(load.Socket),
			run: publish(load.Socket, 1, 1000, 0), metrics: publishing,
			targets: []target{atLeast(answers, 400e3)},
		},
		{
			name: "socket-1", title: "Publishing over one WebSocket, 128 B, one event stream", takes: notBatches(load.Socket),
			run: publish(load.Socket, 1, 1000, 1), metrics: publishing,
		},
		{
			name: "idle-sse", title: fmt.Sprintf("Memory for each of %s subscribers, event stream", short(many)), transports: []load.Transport{load.SSE},
			run: idle(many, duration), metrics: []metric{rssAfter, rssIdle},
			targets: []target{atMost(rssIdle, 1), atMost(rssAfter, 1)},
		},
		{
			name: "idle-websocket", title: fmt.Sprintf("Memory for each of %s subscribers, WebSocket", short(many)), transports: sockets,
			run: idle(many, duration), metrics: []metric{rssAfter, rssIdle},
			targets: []target{atMost(rssIdle, 1), atMost(rssAfter, 1)},
		},
		resume(crowd, "sse", "event stream", load.SSE),
		resume(crowd, "websocket", "WebSocket", load.WebSocket, load.DuplexV1),
		resume(crowd, "longpoll", "long-poll", load.LongPoll),
		{
			name: "slow", title: fmt.Sprintf("50 of 100 event streams are not read for %v, 300 × 1 KiB/s", stall), transports: []load.Transport{load.SSE}, history: true, rounds: 1,
			run: func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
				t := options(e, true, o, 100)
				t.Bytes, t.Rate, t.DrainTimeout = 1024, 300, time.Minute
				return load.Stall(ctx, load.StallOptions{TopicOptions: t, Before: 3 * time.Second, Stalled: stall})
			},
			metrics: []metric{rssSlow, kernelSlow, cut, recovered, told, publishBefore, publishMeanwhile, othersBefore, othersMeanwhile, othersAfter},
			targets: []target{
				atMost(rssSlow, 64),
				{text: "publishers' p99 unchanged", metric: publishMeanwhile, ofMetric: &publishBefore, factor: 1.5},
				{text: "others' p99 unchanged", metric: othersMeanwhile, ofMetric: &othersBefore, factor: 1.5},
				{text: "all recover", metric: recovered, least: 50},
			},
		},
		{
			name: "topics", title: fmt.Sprintf("%s connections with 100 of 1,000 topics each, published to at random", short(thousand)),
			transports: []load.Transport{load.DuplexV1},
			run: func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
				t := options(e, false, o, thousand)
				t.Topics, t.Each = 1000, 100
				return load.Topic(ctx, t)
			},
			metrics: []metric{cpu, rate, p50, p99},
			targets: []target{{text: "≤ 1.3 × one event at a time", entry: nameV1, metric: cpu, of: nameV1, ofWork: "single-websocket", factor: 1.3}},
		},
		{
			name: "growth", title: fmt.Sprintf("Event stream, %s subscribers, one event at a time", short(most)), transports: []load.Transport{load.SSE},
			takes:   func(p *peer) bool { return p.kind == ours || p.name == nameFloor },
			run:     fanout(most, 1, 1),
			metrics: []metric{cpu, rate, p50, p99, generator},
			targets: []target{{text: "grows no more than the floor", metric: cpu, over: "single-sse", of: nameFloor, factor: 1}},
		},
		{
			name: "cores", title: fmt.Sprintf("Event stream, %s subscribers, one event at a time, all cores for all", short(thousand)), transports: []load.Transport{load.SSE}, allCores: true,
			takes:   func(p *peer) bool { return p.kind == ours || p.name == nameFloor },
			run:     fanout(thousand, 1, 1),
			metrics: []metric{rate, cpu, p50, p99},
			targets: []target{{text: "≥ 0.9 × what the floor gains", metric: rate, over: "single-sse", of: nameFloor, factor: 0.9}},
		},
	}
	return list
}

// options are those of a run of an entry.
func options(e entry, history bool, o load.Options, subscribers int) load.TopicOptions {
	return load.TopicOptions{
		Options: o, Dialect: e.peer.dialect, Topic: e.peer.topicFor(&work{history: history}),
		Transports: []load.Transport{e.via}, Subscribers: subscribers, Bytes: 128,
	}
}

func fanout(subscribers, publishers, window int) func(context.Context, entry, load.Options) (*load.Report, error) {
	return func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
		t := options(e, e.via == load.LongPoll, o, subscribers)
		t.Publishers, t.Window = publishers, window
		if e.peer.publishers > 0 && window > 1 {
			t.Publishers = min(e.peer.publishers, window)
		}
		return load.Topic(ctx, t)
	}
}

func atRate(subscribers int, perSecond float64, duration time.Duration) func(context.Context, entry, load.Options) (*load.Report, error) {
	return func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
		t := options(e, false, o, subscribers)
		t.Rate, t.Duration = perSecond, duration
		return load.Topic(ctx, t)
	}
}

func publish(by load.Publishing, publishers, window, subscribers int) func(context.Context, entry, load.Options) (*load.Report, error) {
	return func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
		e.via = load.SSE
		if len(e.peer.transports) > 0 {
			e.via = e.peer.transports[0].via
		}
		t := options(e, false, o, subscribers)
		t.By, t.Publishers, t.Window = by, publishers, window
		return load.Topic(ctx, t)
	}
}

// idle holds subscribers for some time, publishes a few events, and lets the
// server rest.
func idle(subscribers int, duration time.Duration) func(context.Context, entry, load.Options) (*load.Report, error) {
	return func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
		t := options(e, false, o, subscribers)
		t.Settle, t.Rest, t.Warmup, t.Events, t.Duration = 2*duration, 2*duration, -1, 20, time.Minute
		return load.Topic(ctx, t)
	}
}

func resume(subscribers int, name, title string, transports ...load.Transport) work {
	return work{
		name: "resume-" + name, title: fmt.Sprintf("%s subscribers reconnect at once and catch up with 100 events each, %s", short(subscribers), title),
		transports: transports, history: true, resumes: true,
		run: func(ctx context.Context, e entry, o load.Options) (*load.Report, error) {
			return load.Resume(ctx, load.ResumeOptions{TopicOptions: options(e, true, o, subscribers), Missed: 100})
		},
		metrics: []metric{elapsed, p50, p99, cpu, wire},
		targets: []target{atMost(elapsed, 0.2)},
	}
}

func short(n int) string {
	if n >= 1000 && n%1000 == 0 {
		return fmt.Sprintf("%d,000", n/1000)
	}
	return fmt.Sprint(n)
}
