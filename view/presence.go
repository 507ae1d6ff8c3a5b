package view

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// visit puts the connection of a request on the topics that it names (PROTOCOL.md
// §14.1). Nobody is on a topic by a pattern.
func (h *Handler) visit(rd *reading) (*presence.Visit, *Problem) {
	visit := h.opts.Presence.Visit(rd.member)
	if err := join(visit, rd.patterns); err != nil {
		visit.End()
		return nil, problemOf(err)
	}
	return visit, nil
}

func join(visit *presence.Visit, patterns []topic.Pattern) error {
	for _, p := range patterns {
		if !p.Literal() {
			continue
		}
		if err := visit.Join(p.String()); err != nil {
			return err
		}
	}
	return nil
}

// visitByPoll is visit for a long-poll: only a name tells that the next one is
// the same member's.
func (h *Handler) visitByPoll(rd *reading) (*presence.Visit, *Problem) {
	if rd.member == "" || rd.wait == 0 {
		return nil, nil
	}
	return h.visit(rd)
}

// parseMember reads the name of the member that the request is of.
func parseMember(query url.Values) (string, *Problem) {
	if !query.Has("member") {
		return "", nil
	}
	name := query.Get("member")
	if err := presence.CheckMember(name); err != nil {
		return "", problemOf(err)
	}
	return name, nil
}

// checkPresence refuses to read who is on a topic if that is not recorded, or
// not known in time.
func (h *Handler) checkPresence(ctx context.Context, patterns []topic.Pattern) *Problem {
	for _, p := range patterns {
		of, ok := presence.Of(p.String())
		if !ok {
			continue
		}
		if h.opts.Presence == nil || p.Literal() && !h.opts.Presence.Records(of) {
			return newProblem("presence-off", "--presence PATTERN has it recorded")
		}
		ctx, cancel := context.WithTimeout(ctx, presencePatience)
		defer cancel()
		if h.opts.Presence.Ready(ctx) != nil {
			return newProblem("unavailable", "The other servers have not told yet who is there.")
		}
	}
	return nil
}

// presencePatience is more than a server takes to notice that those who could
// tell it who is there are gone.
const presencePatience = 12 * time.Second

// after is Hub.After, which does not know what of joins and leaves is lost.
func (h *Handler) after(ctx context.Context, patterns []topic.Pattern, cursor string) (topic.Start, error) {
	start, err := h.hub.After(ctx, cursor)
	if err != nil {
		return start, err
	}
	start.Lost = h.opts.Presence.Lost(start.Cursor) && slices.ContainsFunc(patterns, func(p topic.Pattern) bool {
		_, ok := presence.Of(p.String())
		return ok
	})
	return start, nil
}

// attended returns the topic whose members a poll asks for. One with a cursor
// asks for joins and leaves, as of any topic.
func (rd *reading) attended() (name string, ok bool) {
	if !rd.oneTopic() || rd.hasCursor() {
		return "", false
	}
	return presence.Of(rd.patterns[0].String())
}

// attendance answers a poll with who is on a topic (PROTOCOL.md §14.2).
func (h *Handler) attendance(w http.ResponseWriter, r *http.Request, rd *reading, name string) *Problem {
	count, problem := flag(rd.query, "count")
	if problem != nil {
		return problem
	}
	snapshot := h.opts.Presence.Snapshot(name, rd.from, rd.limit)
	p := &page{cursor: snapshot.Cursor}
	if r.Method != http.MethodPost && h.unchanged(r, rd) {
		setPageHeader(w.Header(), r, rd, p)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	setPageHeader(w.Header(), r, rd, p)
	end := append(strconv.AppendInt([]byte(`"count":`), int64(snapshot.Count), 10), `,"cursor":"`...)
	end = append(p.cursor.AppendTo(end), '"')
	if count {
		writeList(w, "{", nil, marshal, append(end, '}'))
		return nil
	}
	end = strconv.AppendBool(append(end, `,"more":`...), snapshot.More)
	if snapshot.More {
		end = append(append(end, `,"next":`...), marshal(nextFrom(rd.query, snapshot.Members[len(snapshot.Members)-1]))...)
	}
	end = append([]byte("],"), append(end, '}')...)
	writeList(w, `{"members":[`, snapshot.Members, func(name string) []byte { return marshal(presence.Member{Member: name}) }, end)
	return nil
}
