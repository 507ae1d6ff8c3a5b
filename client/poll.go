package client

import (
	"context"
	"net/url"
)

// poll asks for a page again and again (PROTOCOL.md §5.5).
func (r *reading) poll(ctx context.Context) error {
	ifNew := false // a 304 tells neither of a gap nor of an end, so the first answer is a page
	for {
		p, err := r.fetch(ctx, url.Values{}, 0, ifNew)
		if err != nil {
			return err
		}
		if err := r.turn(ctx, p); err != nil {
			return err
		}
		ifNew = true
		if p.More {
			continue
		}
		if err := sleep(ctx, r.opts.PollInterval); err != nil {
			return err
		}
	}
}
