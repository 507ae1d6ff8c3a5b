package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// longpoll asks for a page that the server holds until it has something
// (PROTOCOL.md §5.6).
func (s *subscription) longpoll(ctx context.Context) error {
	for {
		wait := s.Wait
		if !s.placed {
			wait = 0 // §5.2: what is published before the first answer would be lost with it
		}
		asked := time.Now()
		p, err := s.fetch(ctx, url.Values{"wait": {strconv.Itoa(int(wait.Seconds()))}}, wait, false)
		if err != nil {
			return err
		}
		if err := s.turn(p); err != nil {
			return err
		}
		// A server that is about to stop answers early, and something on the
		// way may always do so.
		if early := s.Interval - time.Since(asked); wait > 0 && early > 0 && p.empty() {
			if err := sleep(ctx, early); err != nil {
				return err
			}
		}
	}
}
