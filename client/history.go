package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/duplexhq/duplex/topic"
)

// A Page is a part of the history of topics (PROTOCOL.md §5.4).
type Page struct {
	Events []topic.Envelope // in order
	Cursor string           // where to go on
	More   bool             // whether there are events after it already
	End    bool             // the only topic has ended, and there is nothing after it

	// Gap says that events after the cursor asked for are gone; then Oldest is
	// the first that is left, or "".
	Gap    bool
	Oldest string
}

// HistoryOptions say which part. Nil is the newest page.
type HistoryOptions struct {
	// After is where to begin: an id or another cursor, or Earliest. If empty,
	// the page ends with the newest event.
	After string

	// Limit is how many events there may be, from 1 to 1,000. If zero, 100.
	Limit int
}

// History reads a page of what is kept of topics and patterns. It is tried
// once. A refusal is a *[ProblemError].
func (c *Client) History(ctx context.Context, topics []string, opts *HistoryOptions) (*Page, error) {
	if len(topics) == 0 {
		return nil, errNoTopics
	}
	for _, name := range topics {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	query := make(url.Values)
	if opts != nil && opts.After != "" {
		query.Set("after", opts.After)
	}
	if opts != nil && opts.Limit != 0 {
		query.Set("limit", strconv.Itoa(opts.Limit))
	}
	var got page
	if err := c.get(ctx, c.urlOf(topics, query), &got); err != nil {
		return nil, err
	}
	p := &Page{Cursor: got.Cursor, More: got.More, End: got.End}
	if got.Gap != nil {
		var gap struct{ Oldest string }
		if err := json.Unmarshal(got.Gap, &gap); err != nil {
			return nil, fmt.Errorf("page: %w", err)
		}
		p.Gap, p.Oldest = true, gap.Oldest
	}
	for _, line := range got.Events {
		event, err := topic.ParseEnvelope(line)
		if err != nil {
			return nil, err
		}
		p.Events = append(p.Events, event)
	}
	return p, nil
}

// A Member is somebody who is on a topic (PROTOCOL.md §14.1).
type Member struct {
	Name     string `json:"member"`
	Verified bool   `json:"verified"`
}

// Presence gives who is on the topic, in the byte order of their names, and a
// cursor: a subscription to "$presence/" and the topic after it tells what has
// changed since. It is tried once, page by page.
func (c *Client) Presence(ctx context.Context, topic string) (members []Member, cursor string, err error) {
	if err := checkName(topic); err != nil {
		return nil, "", err
	}
	from := ""
	for {
		query := url.Values{"limit": {pageLimit}}
		if from != "" {
			query.Set("from", from)
		}
		var page struct {
			Members []Member
			Cursor  string
			More    bool
		}
		if err := c.get(ctx, c.url("$presence/"+topic, query), &page); err != nil {
			return nil, "", err
		}
		members, cursor = append(members, page.Members...), cmp.Or(cursor, page.Cursor)
		if !page.More || len(page.Members) == 0 {
			return members, cursor, nil
		}
		from = members[len(members)-1].Name
	}
}

// get reads a JSON answer. After a 401 it asks for another token once.
func (c *Client) get(ctx context.Context, u *url.URL, v any) error {
	err := c.getOnce(ctx, u, v)
	if unauthorized(err) && c.opts.Token != nil {
		err = c.getOnce(ctx, u, v)
	}
	return err
}

func (c *Client) getOnce(ctx context.Context, u *url.URL, v any) error {
	req, err := c.request(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.send(req, http.StatusOK)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := wantMedia(resp, "application/json"); err != nil {
		return err
	}
	return c.readJSON(resp.Body, v)
}
