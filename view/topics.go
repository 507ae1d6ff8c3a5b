package view

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// A listed topic (PROTOCOL.md §5.12).
type listed struct {
	Topic       string `json:"topic"`
	Newest      string `json:"newest,omitempty"` // none if no event is left
	Events      int    `json:"events"`
	Bytes       int64  `json:"bytes"`
	Subscribers int    `json:"subscribers"`
	Ended       bool   `json:"ended,omitempty"`
}

// topics answers with the topics that there are.
func (h *Handler) topics(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	infos, err := h.listTopics(r.Context(), rd.from, rd.limit+1)
	if err != nil {
		return h.problem(r, err)
	}
	answer := struct {
		Topics []listed `json:"topics"`
		More   bool     `json:"more"`
		Next   string   `json:"next,omitempty"`
	}{Topics: []listed{}}
	if len(infos) > rd.limit {
		infos = infos[:rd.limit]
		answer.More, answer.Next = true, nextTopics(rd.query, infos[len(infos)-1].Topic)
	}
	for _, info := range infos {
		l := listed{Topic: info.Topic, Events: info.Events, Bytes: info.Bytes, Subscribers: h.hub.Subscribers(info.Topic), Ended: info.Ended}
		if info.Events > 0 {
			l.Newest = info.Newest.String()
		}
		answer.Topics = append(answer.Topics, l)
	}
	body := marshal(answer)
	w.Header()["Content-Type"] = isJSON
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // an error means that the client is gone
	return nil
}

// listTopics is Log.Topics without those that nobody may publish to and those
// of which nothing is left.
func (h *Handler) listTopics(ctx context.Context, from string, limit int) ([]topic.Info, error) {
	var list []topic.Info
	for {
		want := limit - len(list)
		infos, err := h.hub.Log().Topics(ctx, from, want)
		if err != nil {
			return nil, err
		}
		for _, info := range infos {
			from = info.Topic
			if topic.CheckName(info.Topic) == nil && (info.Events > 0 || info.Ended) {
				list = append(list, info)
			}
		}
		if len(infos) < want || len(list) == limit {
			return list, nil
		}
	}
}

// nextTopics is the request's query, going on after a topic. A slash needs no
// escape in a query (RFC 3986 §3.4), and is easier to read without.
func nextTopics(query url.Values, last string) string {
	next := url.Values{"from": {last}}
	for name, values := range query {
		if name != "from" {
			next[name] = values
		}
	}
	return "?" + strings.ReplaceAll(next.Encode(), "%2F", "/")
}
