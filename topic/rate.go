package topic

import (
	"sync"
	"time"
)

// RateWindow is the recent time that [Hub.Rate] speaks of.
const RateWindow = 10 * time.Second

// rates counts the events of each topic in windows of time. Only topics that
// had some in the present window or the one before take memory.
type rates struct {
	mu          sync.Mutex
	window      int64             // number of the present one, since the epoch
	now, before map[string]uint32 // by topic; guarded by mu, as window is
}

// add counts a batch of the log.
func (r *rates) add(entries []*Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 0; i < len(entries); {
		first, n := entries[i], uint32(0)
		for ; i < len(entries) && entries[i].Topic == first.Topic; i++ { // most batches are of one topic
			if !entries[i].IsEnd() {
				n++
			}
		}
		if n > 0 {
			r.turn(first.nanos)
			r.now[first.Topic] += n
		}
	}
}

// turn makes the window of a time the present one, unless it is past.
func (r *rates) turn(nanos int64) {
	window := nanos / int64(RateWindow)
	switch {
	case r.now != nil && window <= r.window:
		return
	case window == r.window+1:
		r.before = r.now
	default:
		r.before = nil
	}
	r.window, r.now = window, make(map[string]uint32)
}

// of returns events per second. Of the window before, that part counts which
// lies within RateWindow before now.
func (r *rates) of(topic string, now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now.UnixNano())
	past := float64(now.UnixNano()%int64(RateWindow)) / float64(RateWindow)
	n := float64(r.now[topic]) + float64(r.before[topic])*(1-past)
	return n / RateWindow.Seconds()
}

// Rate returns how many events per second the topic has had lately: in about
// the last RateWindow.
func (h *Hub) Rate(topic string) float64 { return h.rates.of(topic, time.Now()) }
