package client

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// pageLimit is how many events a page may have at most (PROTOCOL.md §5.3).
const pageLimit = "1000"

// A page is the answer to a poll (PROTOCOL.md §5.4).
type page struct {
	Events []json.RawMessage
	Ends   []json.RawMessage
	Cursor string
	More   bool
	Gap    json.RawMessage
	End    bool
}

// empty reports whether the page says nothing.
func (p *page) empty() bool { return len(p.Events) == 0 && len(p.Ends) == 0 && p.Gap == nil }

// answerMargin is how long a page may take beyond the time that it is held.
const answerMargin = 10 * time.Second

// fetch asks for the page after the cursor. With ifNew, the server may say
// that there is nothing new: an empty page.
func (r *reading) fetch(ctx context.Context, query url.Values, held time.Duration, ifNew bool) (*page, error) {
	after := r.after
	limit := choiceLimit // of the first: what is sooner is decided by who waits for it
	if r.begun {
		after, _ = r.feed.place()
		limit = held + answerMargin
	}
	query.Set("limit", pageLimit)
	req, err := r.request(ctx, http.MethodGet, r.url(after, query), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	good := []int{http.StatusOK}
	if ifNew {
		req.Header.Set("If-None-Match", `"`+after+`"`)
		good = append(good, http.StatusNotModified)
	}
	resp, err := r.open(ctx, req, func() time.Duration { return limit }, good...)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return &page{Cursor: strings.Trim(resp.Header.Get("ETag"), `"`)}, nil
	}
	if err := wantMedia(resp, "application/json"); err != nil {
		return nil, err
	}
	p := new(page)
	if err := r.readJSON(resp.Body, p); err != nil {
		return nil, err
	}
	return p, nil
}

// turn takes all that a page says.
func (r *reading) turn(ctx context.Context, p *page) error {
	if err := r.signalled(""); err != nil {
		return err
	}
	if p.Gap != nil {
		if err := r.take(ctx, topic.Envelope{Type: topic.TypeGap, Data: p.Gap, Kind: topic.JSON}); err != nil {
			return err
		}
	}
	for _, line := range slices.Concat(p.Events, p.Ends) {
		if err := r.receive(ctx, line); err != nil {
			return err
		}
	}
	if err := r.feed.turn(p.Cursor); err != nil {
		return err
	}
	if p.End {
		return r.ended(ctx)
	}
	return nil
}

// wantMedia refuses an answer that is none of a Duplex server.
func wantMedia(resp *http.Response, want string) error {
	got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if got != want {
		return fmt.Errorf("answer is %q, want %s: is this a Duplex server?", resp.Header.Get("Content-Type"), want)
	}
	return nil
}
