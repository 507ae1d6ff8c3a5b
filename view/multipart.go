package view

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// multipart answers with a part for each event (PROTOCOL.md §5.19).
func (h *Handler) multipart(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	media := "multipart/x-mixed-replace"
	if rd.transport == asMixed {
		media = "multipart/mixed"
	}
	// A browser may show a part as a page: nothing in it runs.
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	return h.follow(w, r, rd, follower{
		media:   media + "; boundary=" + boundary,
		form:    parts{envelope: rd.envelope, twice: rd.transport == asMultipart && !rd.envelope, one: rd.oneTopic()},
		opening: func() []byte { return []byte("--" + boundary + "\r\n") },
	})
}

// boundary is between parts. Who knows it can publish data that holds it: such
// data is sent in base64.
var boundary = rand.Text()

// parts makes of each event a part and the delimiter after it, so that a client
// has the whole part at once (RFC 2046 §5.1.1).
type parts struct {
	envelope bool // each part is the event or signal in JSON
	twice    bool // images are sent twice: Chromium shows one when it has the header of the next
	one      bool // the end of the topic is that of the answer
}

func (p parts) AppendEvent(dst []byte, e *topic.Event) []byte {
	if p.envelope {
		return appendPart(dst, "application/json", topic.AppendJSON(nil, e))
	}
	dst = appendField(dst, "Event-ID", e.ID.String())
	dst = appendField(dst, "Event-Topic", e.Topic)
	if e.Type != "" {
		dst = appendField(dst, "Event-Type", e.Type)
	}
	media := e.Media
	if media == "" {
		media = "text/plain"
	}
	if shown := shownMedia(media, e.Kind); shown != media {
		dst = appendField(dst, "Event-Media", media)
		media = shown
	}
	dst = appendPart(dst, media, e.Data)
	if p.twice && strings.HasPrefix(media, "image/") {
		dst = appendField(dst, "Event-ID", e.ID.String())
		dst = appendField(dst, "Event-Repeated", "true")
		dst = appendPart(dst, media, e.Data)
	}
	return dst
}

// AppendSignal has a field of the part that comes next say it: a client may show
// whatever part comes, an image or not.
func (p parts) AppendSignal(dst []byte, s topic.Signal) []byte {
	last := p.one && s.Type == topic.TypeEnd
	signal := topic.AppendSignalJSON(nil, s)
	if p.envelope {
		dst = appendPart(dst, "application/json", signal)
	} else if dst = appendField(dst, "Signal", string(signal)); last {
		dst = append(dst, "\r\n\r\n--"+boundary+"\r\n"...)
	}
	if last {
		dst = append(bytes.TrimSuffix(dst, []byte("\r\n")), "--\r\n"...)
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func appendPart(dst []byte, media string, data []byte) []byte {
	if bytes.Contains(data, []byte(boundary)) {
		data = base64.StdEncoding.AppendEncode(nil, data)
		dst = appendField(dst, "Content-Transfer-Encoding", "base64")
	}
	dst = appendField(dst, "Content-Type", media)
	dst = appendField(dst, "Content-Length", strconv.Itoa(len(data)))
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n--"+boundary+"\r\n"...)
}

// shownMedia is what a browser is told: of what it might run, only that it is
// text or bytes.
func shownMedia(media string, kind topic.Kind) string {
	base, _, _ := mime.ParseMediaType(media)
	family, subtype, _ := strings.Cut(base, "/")
	switch {
	case base == "text/plain", base == "application/json", family == "audio", family == "video",
		family == "image" && !strings.HasPrefix(subtype, "svg"):
		return media
	case kind == topic.Binary:
		return "application/octet-stream"
	}
	return "text/plain; charset=utf-8"
}
