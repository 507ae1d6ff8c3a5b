package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A choiceCase is what happens to transports, and what the choice does. All
// clients of this project have the same table.
type choiceCase struct {
	Name       string
	Allowed    []Transport // if empty, all but WebTransport
	First      Transport
	Remembered bool
	Events     string // "MILLISECONDS TRANSPORT works|fails", in order
	Want       string // "MILLISECONDS +TRANSPORT" begins it, "=TRANSPORT" chooses it, "over"
}

// PROTOCOL.md §15.3, as a table.
func TestChoice(t *testing.T) {
	data, err := os.ReadFile("testdata/choices.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []choiceCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 20 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if len(c.Allowed) == 0 {
				c.Allowed = []Transport{WebSocket, SSE, Stream, Longpoll, Poll}
			}
			if got := c.play(); got != c.Want {
				t.Errorf("\n got %s\nwant %s", got, c.Want)
			}
		})
	}
}

// play has everything happen, and tells what the choice does.
func (c *choiceCase) play() string {
	start := time.Now()
	choice := newChoice(c.Allowed, c.First, c.Remembered, start, choiceLimit)
	events := strings.Split(c.Events, ", ")
	var did []string
	for now := 0; ; {
		m := choice.next(start.Add(time.Duration(now) * time.Millisecond))
		switch {
		case m.begin != "":
			did = append(did, fmt.Sprintf("%d +%s", now, m.begin))
			continue
		case m.adopt != "":
			return strings.Join(append(did, fmt.Sprintf("%d =%s", now, m.adopt)), ", ")
		case m.over:
			return strings.Join(append(did, fmt.Sprintf("%d over", now)), ", ")
		}
		now = int(m.wake.Sub(start).Milliseconds())
		var at int
		var transport Transport
		var what string
		if n, _ := fmt.Sscan(events[0], &at, &transport, &what); n != 3 || at > now {
			continue
		}
		events, now = append(events[1:], ""), at
		if what == "works" {
			choice.works(transport, start.Add(time.Duration(at)*time.Millisecond))
		} else {
			choice.failed(transport, errors.New("refused"))
		}
	}
}
