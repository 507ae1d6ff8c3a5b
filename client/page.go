package client

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// pageLimit is how many events a page may have at most (PROTOCOL.md §5.3).
const pageLimit = "1000"

// A page is the answer to a poll (PROTOCOL.md §5.4).
type page struct {
	Events []json.RawMessage
	Cursor string
	More   bool
	Gap    json.RawMessage
	End    bool
}

// empty reports whether the page says nothing.
func (p *page) empty() bool { return len(p.Events) == 0 && p.Gap == nil }

// answerMargin is how long a page may take beyond the time that it is held.
const answerMargin = 30 * time.Second

// fetch asks for the page after the cursor. With ifNew, the server may say
// that there is nothing new: an empty page.
func (s *subscription) fetch(ctx context.Context, query url.Values, held time.Duration, ifNew bool) (*page, error) {
	query.Set("limit", pageLimit)
	req, err := s.request(ctx, http.MethodGet, s.url(query), nil)
	if err != nil {
		return nil, final(err)
	}
	req.Header.Set("Accept", "application/json")
	good := []int{http.StatusOK}
	if ifNew {
		req.Header.Set("If-None-Match", `"`+s.cursor+`"`)
		good = append(good, http.StatusNotModified)
	}
	resp, err := s.open(ctx, req, func() time.Duration { return held + answerMargin }, good...)
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
	body, err := s.readAll(resp.Body)
	if err != nil {
		return nil, err
	}
	p := new(page)
	if err := json.Unmarshal(body, p); err != nil {
		return nil, final(fmt.Errorf("page: %w", err))
	}
	return p, nil
}

// turn takes all that a page says.
func (s *subscription) turn(p *page) error {
	s.wasOpened()
	if p.Gap != nil {
		if err := s.take(topic.Envelope{Type: topic.TypeGap, Data: p.Gap, Kind: topic.JSON}); err != nil {
			return err
		}
	}
	for _, line := range p.Events {
		if err := s.receive(line); err != nil {
			return err
		}
	}
	// It says more than the id of the last event: what was told of losses.
	if p.Cursor != "" {
		s.cursor, s.placed = p.Cursor, true
	}
	if p.End {
		return s.ended()
	}
	return nil
}

// wantMedia refuses an answer that is none of a Duplex server.
func wantMedia(resp *http.Response, want string) error {
	got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if got != want {
		return final(fmt.Errorf("answer is %q, want %s: is this a Duplex server?", resp.Header.Get("Content-Type"), want))
	}
	return nil
}
