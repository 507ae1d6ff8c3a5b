package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

const (
	// longpollWait is how long the server may hold a page: less than what proxies
	// cut, many after 30 s.
	longpollWait = 25 * time.Second

	// earlyPause is what follows a page that came early with nothing in it. A
	// server that is about to stop does so, and something on the way may always.
	earlyPause = time.Second
)

// longpoll asks for a page that the server holds until it has something
// (PROTOCOL.md §5.6).
func (r *reading) longpoll(ctx context.Context) error {
	for {
		wait := longpollWait
		if !r.begun {
			wait = 0 // §15.2: its answer is the first signal, and has a cursor
		}
		asked := time.Now()
		p, err := r.fetch(ctx, url.Values{"wait": {strconv.Itoa(int(wait.Seconds()))}}, wait, false)
		if err != nil {
			return err
		}
		if err := r.turn(ctx, p); err != nil {
			return err
		}
		if early := earlyPause - time.Since(asked); wait > 0 && early > 0 && p.empty() {
			if err := sleep(ctx, early); err != nil {
				return err
			}
		}
	}
}
