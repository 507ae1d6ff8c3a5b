//go:build linux

package load_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
	"github.com/duplexhq/duplex/view/viewtest"
)

// duplex serves topics.
func duplex(t *testing.T) (address string) {
	t.Helper()
	return duplexOn(t, func(l net.Listener) net.Listener { return l })
}

// duplexOn serves topics on a listener that wraps one of TCP.
func duplexOn(t *testing.T, wrap func(net.Listener) net.Listener) (address string) {
	t.Helper()
	topics := viewtest.New(t, nil, nil)
	server := httptest.NewUnstartedServer(topics)
	server.Listener = wrap(server.Listener)
	server.Start()
	t.Cleanup(func() {
		topics.Close()
		server.Close()
	})
	return server.Listener.Addr().String()
}

// A few subscribers on each transport, and on all of them at once.
func TestTopic(t *testing.T) {
	address := duplex(t)
	mixes := [][]load.Transport{load.Transports()}
	for _, via := range load.Transports() {
		mixes = append(mixes, []load.Transport{via})
	}
	for _, mix := range mixes {
		t.Run(joined(mix), func(t *testing.T) {
			options := load.TopicOptions{
				Options:     briefly(address),
				Topic:       "a/" + joined(mix),
				Transports:  mix,
				Subscribers: 10,
				Publishers:  3,
				Bytes:       128,
				Window:      8,
			}
			r := untilSeen(t, &options.Options, func() (*load.Report, error) {
				return load.Topic(t.Context(), options)
			}, func(r *load.Report) bool { return r.Answered.Count() > 0 && r.Complete.Count() > 0 })
			if r.Connections != 13 || r.Subscribers != 10 {
				t.Errorf("%d connections, %d subscribers", r.Connections, r.Subscribers)
			}
		})
	}
}

func TestTopicRate(t *testing.T) {
	r, err := load.Topic(t.Context(), load.TopicOptions{
		Options: briefly(duplex(t)), Transports: []load.Transport{load.SSE}, Subscribers: 5, Publishers: 2, Bytes: 64, Rate: 200,
	})
	faultless(t, r, err)
}

func TestPublish(t *testing.T) {
	address := duplex(t)
	for _, by := range []load.Publishing{load.Posts, load.Batches, load.Socket} {
		for _, subscribers := range []int{0, 1} {
			options := load.TopicOptions{
				Options: briefly(address), Topic: by.String(), By: by, Publishers: 2, Bytes: 128, Window: 500, Batch: 50,
				Transports: []load.Transport{load.SSE}, Subscribers: subscribers,
			}
			options.Messages = 5000 // so many that some batches begin and are answered within the measuring
			r := untilSeen(t, &options.Options, func() (*load.Report, error) {
				return load.Topic(t.Context(), options)
			}, func(r *load.Report) bool { return r.Answers > 0 && r.Answered.Count() > 0 })
			if subscribers == 0 && r.Messages != r.Answers {
				t.Errorf("%v: %d published, %d answered, %d delivered", by, r.Published, r.Answers, r.Messages)
			}
		}
	}
}

// Each subscriber has topics of its own, and gets no other.
func TestManyTopics(t *testing.T) {
	address := duplex(t)
	for _, via := range []load.Transport{load.DuplexV1, load.SSE} {
		r, err := load.Topic(t.Context(), load.TopicOptions{
			Options: briefly(address), Topic: "many/" + via.String(), Transports: []load.Transport{via},
			Subscribers: 20, Topics: 30, Each: 6, Publishers: 2, Bytes: 128, Window: 8,
		})
		faultless(t, r, err)
		if perMessage := float64(r.Messages) / float64(r.Published); perMessage < 2 || perMessage > 6 {
			t.Errorf("%v: %d messages of %d published: want about 4 of each", via, r.Messages, r.Published)
		}
	}
}

func TestHold(t *testing.T) {
	options := held(duplex(t))
	options.Rest = 10 * time.Millisecond
	options.Duration = longest
	r, err := load.Topic(t.Context(), load.TopicOptions{
		Options: options, Transports: load.Transports(), Subscribers: 10, Bytes: 128, Events: 7,
	})
	if err != nil || r.Faults() != "" || r.Server.RSSConnected == 0 || r.Server.RSSAfter == 0 || r.Complete.Count() > 7 {
		t.Errorf("%+v, %q, %v", r.Server, r.Faults(), err)
	}
}

func TestResume(t *testing.T) {
	address := duplex(t)
	for _, via := range load.Transports() {
		r, err := load.Resume(t.Context(), load.ResumeOptions{
			TopicOptions: load.TopicOptions{Options: briefly(address), Topic: "r/" + via.String(), Transports: []load.Transport{via}, Subscribers: 8, Bytes: 64},
			Missed:       30,
		})
		if err != nil || r.Faults() != "" || r.Messages != 8*30 || r.Latency.Count() != 8 || r.Elapsed <= 0 {
			t.Errorf("%v: %v, %q, %d messages, %d caught up", via, err, r.Faults(), r.Messages, r.Latency.Count())
		}
	}
}

func TestStall(t *testing.T) {
	options := briefly(duplex(t))
	options.Messages = 0
	r, err := load.Stall(t.Context(), load.StallOptions{
		TopicOptions: load.TopicOptions{Options: options, Transports: []load.Transport{load.SSE, load.SSE, load.DuplexV1, load.DuplexV1}, Subscribers: 8, Bytes: 1024},
		Before:       50 * time.Millisecond,
		Stalled:      200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults() != "" || r.Slow.Readers != 4 || r.Slow.Recovered+r.Slow.Cut < 4 || r.Slow.RSSPeak == 0 || len(r.Stages) != 3 {
		t.Errorf("%q, %+v", r.Faults(), *r.Slow)
	}
	for _, s := range r.Stages {
		if s.Published == 0 || s.Latency.Count() == 0 || s.Answered.Count() != s.Published || s.Elapsed <= 0 {
			t.Errorf("%s: %d published, %d latencies, %d answers in %v", s.Name, s.Published, s.Latency.Count(), s.Answered.Count(), s.Elapsed)
		}
	}
}

func TestTopicRefusals(t *testing.T) {
	address := duplex(t)
	for name, test := range map[string]struct {
		change func(*load.TopicOptions)
		says   string
	}{
		"pattern":         {func(o *load.TopicOptions) { o.Topic = "a/*"; o.Subscribers = 0 }, "400"},
		"raw":             {func(o *load.TopicOptions) { o.Transports = []load.Transport{load.Raw} }, "cannot be read as raw"},
		"short window":    {func(o *load.TopicOptions) { o.By = load.Batches; o.Window = 5 }, "shorter than a batch"},
		"long window":     {func(o *load.TopicOptions) { o.Window = 1 << 20 }, "at most"},
		"long batch":      {func(o *load.TopicOptions) { o.By = load.Batches; o.Batch = 2000 }, "at most"},
		"too many topics": {func(o *load.TopicOptions) { o.Topics, o.Each = 1<<20, 1 }, "at most"},
		"lonely topics":   {func(o *load.TopicOptions) { o.Topics, o.Each = 10, 1 }, "without any"},
		"rate":            {func(o *load.TopicOptions) { o.Rate = -1 }, "negative"},
		"connections":     {func(o *load.TopicOptions) { o.Subscribers = 1 << 19 }, "ulimit"},
	} {
		o := load.TopicOptions{Options: briefly(address), Transports: []load.Transport{load.SSE}, Subscribers: 2, Bytes: 128}
		test.change(&o)
		if _, err := load.Topic(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
}

func TestParseTransports(t *testing.T) {
	mix, err := load.ParseTransports("sse+duplex.v1+sse")
	if err != nil || joined(mix) != "sse+duplex.v1+sse" {
		t.Errorf("%v, %v", mix, err)
	}
	for _, text := range []string{"", "sse+", "raw", "post", "SSE"} {
		if _, err := load.ParseTransports(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// Streams of a few connections, of a server that is net/http's.
func TestOverHTTP2(t *testing.T) {
	topics := viewtest.New(t, nil, nil)
	server := httptest.NewUnstartedServer(topics)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(func() {
		topics.Close()
		server.Close()
	})
	for _, test := range []struct {
		streams int
		mix     []load.Transport
	}{{1, []load.Transport{load.SSEOverHTTP2}}, {4, []load.Transport{load.SSEOverHTTP2}}, {100, []load.Transport{load.SSEOverHTTP2, load.SSE}}} {
		r, err := load.Topic(t.Context(), load.TopicOptions{
			Options: briefly(server.Listener.Addr().String()), Transports: test.mix, Streams: test.streams,
			Subscribers: 10, Publishers: 2, Bytes: 128, Window: 8,
		})
		faultless(t, r, err)
		if r.Messages == 0 {
			t.Errorf("%d streams: no messages", test.streams)
		}
	}
	_, err := load.Resume(t.Context(), load.ResumeOptions{TopicOptions: load.TopicOptions{
		Options: briefly(server.Listener.Addr().String()), Transports: []load.Transport{load.SSEOverHTTP2}, Subscribers: 2, Bytes: 128,
	}})
	if err == nil {
		t.Error("it cannot resume")
	}
}

// joined is the reverse of ParseTransports.
func joined(mix []load.Transport) string {
	names := make([]string, len(mix))
	for i, t := range mix {
		names[i] = t.String()
	}
	return strings.Join(names, "+")
}
