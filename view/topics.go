package view

import (
	"context"
	"math"
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
	Rate        rate   `json:"rate"`
	Ended       bool   `json:"ended,omitempty"`
}

// A rate is events per second, to one place after the point.
type rate float64

// MarshalJSON implements json.Marshaler.
func (r rate) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

func (r rate) String() string {
	return strconv.FormatFloat(math.Round(float64(r)*10)/10, 'f', -1, 64)
}

// topics answers with the topics that there are.
func (h *Handler) topics(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	list, next, err := h.listPage(r.Context(), rd)
	if err != nil {
		return h.problem(r, err)
	}
	end := strconv.AppendBool([]byte(`],"more":`), next != "")
	if next != "" {
		end = append(append(end, `,"next":`...), marshal(next)...)
	}
	writeList(w, `{"topics":[`, list, func(l listed) []byte { return marshal(l) }, append(end, '}'))
	return nil
}

// listPage is one page of the list, and the query of the next one if there is
// more.
func (h *Handler) listPage(ctx context.Context, rd *reading) (list []listed, next string, err error) {
	infos, err := h.listTopics(ctx, rd.from, rd.limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(infos) > rd.limit {
		infos = infos[:rd.limit]
		next = nextFrom(rd.query, infos[len(infos)-1].Topic)
	}
	list = make([]listed, len(infos))
	for i, info := range infos {
		list[i] = listed{
			Topic: info.Topic, Events: info.Events, Bytes: info.Bytes, Ended: info.Ended,
			Subscribers: h.hub.Subscribers(info.Topic), Rate: rate(h.hub.Rate(info.Topic)),
		}
		if info.Events > 0 {
			list[i].Newest = info.Newest.String()
		}
	}
	return list, next, nil
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

// nextFrom is the request's query, going on after a name. A slash needs no
// escape in a query (RFC 3986 §3.4), and is easier to read without.
func nextFrom(query url.Values, last string) string {
	next := url.Values{"from": {last}}
	for name, values := range query {
		if name != "from" {
			next[name] = values
		}
	}
	return "?" + strings.ReplaceAll(next.Encode(), "%2F", "/")
}
