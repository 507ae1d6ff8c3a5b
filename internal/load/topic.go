//go:build linux

package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
)

// TopicOptions are those of [Topic], and the common ones of [Resume] and
// [Stall].
type TopicOptions struct {
	Options
	Dialect     *Dialect    // default Duplex
	Topic       string      // default "bench"
	Transports  []Transport // the subscribers take them in turn. Default WebSocket
	Subscribers int         // with none, only the publishing is measured
	Streams     int         // of them that share a connection over HTTP/2. Default 100
	Publishers  int         // connections that publish. Default 1
	By          Publishing
	Batch       int // messages of a request of Batches. Default 100, at most 1,000
	Bytes       int // of a message
	// Window is how many messages are under way, of all publishers together:
	// a message is as long as a subscriber has not got it or, if there are
	// none, it is not answered. Default 1, or one batch; 4,096 at a fixed rate.
	Window int
	Rate   float64 // messages/s of all publishers; 0: the next when the window allows
	Events uint64  // if not 0, the measuring ends when so many were published and received

	// Topics is how many there are below Topic. Default 1. With more, each
	// subscriber takes Each of them, so that each has about as many
	// subscribers, and messages are published to one at random.
	Topics, Each int
}

const (
	defaultTopic   = "bench"
	defaultBatch   = 100
	maxBatch       = 1000
	defaultStreams = 100
	maxTopics      = 100_000
)

// Topic publishes to topics of a server and subscribes to them.
func Topic(ctx context.Context, options TopicOptions) (*Report, error) {
	f, p, err := options.plan()
	if err != nil {
		return nil, err
	}
	p.name = "publish by " + options.By.String()
	if f.subscribers > 0 {
		p.name = "fan-out"
	}
	return f.execute(ctx, options.Options, p)
}

func (o TopicOptions) withDefaults() TopicOptions {
	if o.Dialect == nil {
		o.Dialect = Duplex
	}
	if o.Topic == "" {
		o.Topic = defaultTopic
	}
	if len(o.Transports) == 0 {
		o.Transports = []Transport{WebSocket}
	}
	o.Publishers = max(o.Publishers, 1)
	o.Subscribers = max(o.Subscribers, 0)
	o.Topics = max(o.Topics, 1)
	if o.By != Batches {
		o.Batch = 1
	} else if o.Batch <= 0 {
		o.Batch = defaultBatch
	}
	return o
}

// check refuses what there is no work of.
func (o *TopicOptions) check() error {
	switch {
	case o.By != Posts && o.By != Batches && o.By != Socket:
		return fmt.Errorf("nothing is published by %v here", o.By)
	case o.Batch > maxBatch:
		return fmt.Errorf("a batch of %d messages: at most %d", o.Batch, maxBatch)
	case o.Topics > maxTopics:
		return fmt.Errorf("%d topics: at most %d", o.Topics, maxTopics)
	case o.Topics > 1 && (o.Each < 1 || o.Each > o.Topics):
		return fmt.Errorf("each subscriber takes %d of %d topics", o.Each, o.Topics)
	case o.Topics > 1 && o.Subscribers*o.Each < o.Topics:
		return fmt.Errorf("%d subscribers with %d topics each: %d topics would be without any", o.Subscribers, o.Each, o.Topics)
	case o.Topics > 1 && o.Publishers > o.Topics:
		return errors.New("there are more publishers than topics")
	case o.Streams < 0:
		return errors.New("the number of streams is negative")
	case o.Rate < 0:
		return errors.New("the rate is negative")
	}
	return nil
}

// plan gives the work and what it needs.
func (o TopicOptions) plan() (f *fanout, p plan, err error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, p, err
	}
	f = &fanout{
		by:          o.By,
		dialect:     o.Dialect,
		publishers:  o.Publishers,
		subscribers: o.Subscribers,
		first:       o.Publishers,
		names:       []string{o.Topic},
		each:        o.Each,
		window:      o.Window,
		batch:       o.Batch,
		rate:        o.Rate,
		events:      o.Events,
	}
	if o.Topics > 1 {
		f.names = f.names[:0]
		for i := range o.Topics {
			f.names = append(f.names, o.Topic+"/"+strconv.Itoa(i))
		}
	}
	p = plan{dialect: o.Dialect, bytes: o.Bytes, streams: cmp.Or(o.Streams, defaultStreams)}
	via := post
	if o.By == Socket {
		via = socket
	}
	for range o.Publishers {
		p.vias = append(p.vias, via)
	}
	for i := range o.Subscribers {
		p.vias = append(p.vias, o.Transports[i%len(o.Transports)])
	}
	return f, p, nil
}
