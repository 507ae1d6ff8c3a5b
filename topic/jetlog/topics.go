package jetlog

import (
	"context"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// Ended returns the id of a topic's end entry, if the topic was ended.
func (l *Log) Ended(name string) (topic.ID, bool) {
	if l.rlock() != nil {
		return topic.ID{}, false
	}
	defer l.mu.RUnlock()
	t := l.index.Topic(name)
	if t == nil || !t.Ended {
		return topic.ID{}, false
	}
	return l.id(t.Newest()), true
}

// Topics lists known topics. A long list is not one look at the log: a topic
// that comes or goes meanwhile may or may not be in it.
func (l *Log) Topics(ctx context.Context, from string, limit int) (list []topic.Info, err error) {
	for {
		if err := l.rlock(); err != nil {
			return nil, err
		}
		step := min(limit, len(list)+keep.TopicsStep)
		for t := range l.index.Names.After(from) {
			if len(list) >= step {
				break
			}
			list = append(list, l.info(t))
		}
		l.mu.RUnlock()
		if len(list) < step || step >= limit {
			return list, nil
		}
		from = list[len(list)-1].Topic
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

func (l *Log) info(t *index.Topic) topic.Info {
	return topic.Info{
		Topic:  t.Name(),
		Newest: l.id(t.Newest()),
		Events: t.Events(),
		Bytes:  t.Bytes,
		Ended:  t.Ended,
	}
}
