package client

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// PROTOCOL.md §15.3, as a table: what happens when, and what is done when.
func TestChoice(t *testing.T) {
	all := []Transport{WebSocket, SSE, Stream, Longpoll, Poll}
	for name, test := range map[string]struct {
		allowed    []Transport
		first      Transport
		remembered bool
		events     string // "MILLISECONDS TRANSPORT works|fails", in order
		want       string // "MILLISECONDS +TRANSPORT" begins it, "=TRANSPORT" chooses it, "over"
	}{
		"the best works": {
			events: "30 websocket works",
			want:   "0 +websocket, 30 =websocket",
		},
		"upgrade refused": {
			events: "20 websocket fails, 40 sse works",
			want:   "0 +websocket, 20 +sse, 40 =sse",
		},
		"black hole": {
			events: "410 sse works",
			want:   "0 +websocket, 400 +sse, 660 =sse",
		},
		"slow, but better": {
			events: "410 sse works, 500 websocket works",
			want:   "0 +websocket, 400 +sse, 500 =websocket",
		},
		"better fails in its last moments": {
			events: "410 sse works, 500 websocket fails",
			want:   "0 +websocket, 400 +sse, 500 =sse",
		},
		"everything but longpoll is held back": {
			events: "1230 longpoll works",
			want:   "0 +websocket, 400 +sse, 800 +stream, 1200 +longpoll, 1480 =longpoll",
		},
		"the one that failed at once gives its time to the next": {
			events: "10 websocket fails, 10 sse fails, 20 stream fails, 50 longpoll works",
			want:   "0 +websocket, 10 +sse, 10 +stream, 20 +longpoll, 50 =longpoll",
		},
		"a failure of an earlier one does not hurry": {
			events: "500 websocket fails, 900 stream works",
			want:   "0 +websocket, 400 +sse, 800 +stream, 1150 =stream",
		},
		"less preferred arrives in the grace": {
			events: "1210 stream works, 1300 longpoll works",
			want:   "0 +websocket, 400 +sse, 800 +stream, 1200 +longpoll, 1460 =stream",
		},
		"works, and fails before it is chosen": {
			events: "410 sse works, 450 sse fails, 800 websocket works",
			want:   "0 +websocket, 400 +sse, 450 +stream, 800 =websocket",
		},
		"remembered": {
			first: Longpoll, remembered: true, events: "20 longpoll works",
			want: "0 +longpoll, 20 =longpoll",
		},
		"remembered, and gone": {
			first: SSE, remembered: true, events: "1010 websocket works",
			want: "0 +sse, 1000 +websocket, 1010 =websocket",
		},
		"begun lower": {
			first: SSE, events: "410 websocket works",
			want: "0 +sse, 400 +websocket, 410 =websocket",
		},
		"remembered, and not allowed": {
			allowed: []Transport{Stream, Poll}, first: SSE, remembered: true, events: "410 poll works",
			want: "0 +stream, 400 +poll, 660 =poll",
		},
		"an order of the user's": {
			allowed: []Transport{Poll, WebSocket}, events: "410 websocket works, 420 poll works",
			want: "0 +poll, 400 +websocket, 420 =poll",
		},
		"nothing works": {
			allowed: []Transport{WebSocket, SSE}, events: "10 websocket fails, 20 sse fails",
			want: "0 +websocket, 10 +sse, 20 over",
		},
		"nothing answers": {
			allowed: []Transport{WebSocket, SSE},
			want:    "0 +websocket, 400 +sse, 30000 over",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.allowed == nil {
				test.allowed = all
			}
			start := time.Now()
			c := newChoice(test.allowed, test.first, test.remembered, start, choiceLimit)
			var got []string
			events := strings.Split(test.events, ", ")
			now := 0
			for range 20 {
				m := c.next(start.Add(time.Duration(now) * time.Millisecond))
				switch {
				case m.begin != "":
					got = append(got, fmt.Sprintf("%d +%s", now, m.begin))
					continue
				case m.adopt != "":
					got = append(got, fmt.Sprintf("%d =%s", now, m.adopt))
				case m.over:
					got = append(got, fmt.Sprintf("%d over", now))
				}
				if m.adopt != "" || m.over {
					break
				}
				wake := int(m.wake.Sub(start).Milliseconds())
				var at int
				var transport Transport
				var what string
				if n, _ := fmt.Sscan(events[0], &at, &transport, &what); n == 3 && at <= wake {
					events, now = append(events[1:], ""), at
					if what == "works" {
						c.works(transport, start.Add(time.Duration(at)*time.Millisecond))
					} else {
						c.failed(transport, errors.New("refused"))
					}
				} else {
					now = wake
				}
			}
			if got := strings.Join(got, ", "); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
		})
	}
}
