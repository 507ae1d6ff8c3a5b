package view

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"

	"github.com/duplexhq/duplex/internal/jsonscan"
	"github.com/duplexhq/duplex/topic"
)

const maxBatch = 1000 // events

// batch reads the drafts of a batch, all or none (PROTOCOL.md §7.3).
func (h *Handler) batch(w http.ResponseWriter, r *http.Request, p publishing) ([]topic.Draft, *Problem) {
	items, unit := splitLines, "line "
	switch base, _, _ := mime.ParseMediaType(cmp.Or(p.media, "application/x-ndjson")); base {
	case "application/x-ndjson":
	case "application/json":
		items, unit = splitArray, "event "
	default:
		return nil, unsupportedMedia("application/x-ndjson, application/json")
	}
	body, problem := h.readBody(w, r, h.opts.MaxBodyBytes)
	if problem != nil {
		return nil, problem
	}
	var drafts []topic.Draft
	place := 0
	for item, problem := range items(body) {
		place++
		if problem == nil && len(item) == 0 {
			continue
		}
		var draft topic.Draft
		if problem == nil {
			draft, problem = h.batchDraft(item, p.event)
		}
		if problem == nil && len(drafts) == maxBatch {
			problem = newProblem("too-big", "a batch has at most 1000 events")
		}
		if problem != nil {
			return nil, problem.at(unit + strconv.Itoa(place))
		}
		drafts = append(drafts, draft)
	}
	if len(drafts) == 0 {
		return nil, newProblem("missing-data", "the batch has no events")
	}
	return drafts, nil
}

// batchDraft reads one object of a batch. Its event type may be the URL's.
func (h *Handler) batchDraft(item []byte, event string) (topic.Draft, *Problem) {
	var data []byte
	for m, err := range jsonscan.Members(item) {
		if err != nil {
			return topic.Draft{}, problemOf(err)
		}
		switch string(m.Key) {
		case "data":
			data = m.Value
		case "event":
			if event, err = jsonscan.String(m.Value); err != nil {
				return topic.Draft{}, newProblem("bad-parameter", "event is not a string")
			}
		}
	}
	if data == nil {
		return topic.Draft{}, newProblem("missing-data", "")
	}
	if err := topic.CheckType(event); err != nil {
		return topic.Draft{}, problemOf(err)
	}
	draft, err := topic.DraftFromJSON(event, data)
	if err != nil {
		return topic.Draft{}, problemOf(err)
	}
	if int64(len(draft.Data)) > h.opts.MaxEventBytes {
		return topic.Draft{}, problemOf(&http.MaxBytesError{Limit: h.opts.MaxEventBytes})
	}
	return draft, nil
}

// splitLines gives the lines of NDJSON. Empty ones have no bytes.
func splitLines(body []byte) iter.Seq2[[]byte, *Problem] {
	return func(yield func([]byte, *Problem) bool) {
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			if !yield(bytes.Trim(line, " \t\r"), nil) {
				return
			}
		}
	}
}

// splitArray gives the elements of a JSON array one by one: a list of all
// could take many times the memory of the body. A problem is the last step.
func splitArray(body []byte) iter.Seq2[[]byte, *Problem] {
	return func(yield func([]byte, *Problem) bool) {
		decoder := json.NewDecoder(bytes.NewReader(body))
		start, _ := decoder.Token()
		ok := start == json.Delim('[')
		for ok && decoder.More() {
			var element json.RawMessage
			ok = decoder.Decode(&element) == nil
			if ok && !yield(element, nil) {
				return
			}
		}
		if ok {
			end, _ := decoder.Token()
			_, err := decoder.Token()
			ok = end == json.Delim(']') && err == io.EOF
		}
		if !ok {
			yield(nil, newProblem("bad-json", "not a JSON array"))
		}
	}
}
