package jetlog

import (
	"cmp"
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// topicsStep is how many topics are looked at before the lock is let go.
const topicsStep = 4096

// Ended returns the id of a topic's end entry, if the topic was ended.
func (l *Log) Ended(name string) (topic.ID, bool) {
	if l.rlock() != nil {
		return topic.ID{}, false
	}
	defer l.mu.RUnlock()
	t := l.index.topics[name]
	if t == nil || !t.ended {
		return topic.ID{}, false
	}
	return l.id(t.newest()), true
}

// Topics lists known topics. There is no index of names: a page looks at every
// topic, and keeps the least names. A topic that comes or goes meanwhile may or
// may not be listed.
func (l *Log) Topics(ctx context.Context, from string, limit int) ([]topic.Info, error) {
	if err := l.rlock(); err != nil {
		return nil, err
	}
	if limit <= 0 {
		l.mu.RUnlock()
		return nil, nil
	}
	var list []topic.Info
	last := "" // no name from it on can still be listed; "" if there is room
	looked := 0
	// A map may change between two steps of a range; with the lock held during
	// each, it does not change within one.
	for name, t := range l.index.topics {
		if looked++; looked%topicsStep == 0 {
			l.mu.RUnlock()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err := l.rlock(); err != nil {
				return nil, err
			}
		}
		if name <= from || last != "" && name >= last || len(t.seqs) == 0 {
			continue
		}
		list = append(list, l.info(t))
		if len(list)/2 >= limit {
			list = least(list, limit)
			if len(list) == limit {
				last = list[limit-1].Topic
			}
		}
	}
	l.mu.RUnlock()
	return least(list, limit), nil
}

// least returns the limit least names in their order. A topic that went and
// came back may have been seen twice.
func least(list []topic.Info, limit int) []topic.Info {
	slices.SortFunc(list, func(a, b topic.Info) int { return cmp.Compare(a.Topic, b.Topic) })
	list = slices.CompactFunc(list, func(a, b topic.Info) bool { return a.Topic == b.Topic })
	return list[:min(limit, len(list))]
}

func (l *Log) info(t *topicLog) topic.Info {
	return topic.Info{
		Topic:  t.name,
		Newest: l.id(t.newest()),
		Events: t.events(),
		Bytes:  t.bytes,
		Ended:  t.ended,
	}
}
