package memlog

import (
	"context"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Ended returns the id of a topic's end entry, if it is kept.
func (l *Log) Ended(name string) (topic.ID, bool) {
	if l.rlock() != nil {
		return topic.ID{}, false
	}
	defer l.mu.RUnlock()
	t := l.topics[name]
	if t == nil || !t.ended() {
		return topic.ID{}, false
	}
	return t.at(t.Len() - 1).ID, true
}

// Topics lists known topics. A long list is not one look at the log: a topic
// that comes or goes meanwhile may or may not be in it.
func (l *Log) Topics(ctx context.Context, from string, limit int) (list []topic.Info, err error) {
	for {
		if err := l.rlock(); err != nil {
			return nil, err
		}
		step := min(limit, len(list)+keep.TopicsStep)
		for t := range l.names.After(from) {
			if len(list) >= step {
				break
			}
			list = append(list, t.info())
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

func (t *topicLog) info() topic.Info {
	return topic.Info{
		Topic:  t.name,
		Newest: t.at(t.Len() - 1).ID,
		Events: t.events(),
		Bytes:  t.bytes,
		Ended:  t.ended(),
	}
}
