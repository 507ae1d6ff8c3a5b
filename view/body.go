package view

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/duplexhq/duplex/internal/jsonscan"
)

// readBody reads a body of at most limit bytes.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *Problem) {
	if r.ContentLength > limit {
		return nil, problemOf(&http.MaxBytesError{Limit: limit})
	}
	body := incoming{Reader: r.Body, handler: h, rc: *http.NewResponseController(w)}
	defer body.end()
	if r.ContentLength < 0 {
		body.Reader = http.MaxBytesReader(w, r.Body, limit)
	}
	data, err := readAll(&body, r.ContentLength)
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, problemOf(e)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, newProblem("too-slow", "the body comes too slowly, see --write-timeout").withoutRest(r)
	}
	if errors.Is(err, errIncoming) {
		return nil, newProblem("limit-reached", "more is being sent than --max-incoming-bytes allows").withoutRest(r)
	}
	_ = body.rc.SetReadDeadline(time.Time{}) // fails if the client is gone
	if err != nil {
		return nil, newProblem("bad-parameter", "the body is malformed or incomplete")
	}
	return data, nil
}

// withoutRest ends a connection of HTTP/1.1, on which the rest of a body is still
// to come.
func (p *Problem) withoutRest(r *http.Request) *Problem {
	if r.ProtoMajor == 1 {
		if p.Header == nil {
			p.Header = make(http.Header)
		}
		p.Header.Set("Connection", "close")
	}
	return p
}

// errIncoming is for what would be too much, together with the bodies of others.
var errIncoming = errors.New("the handler takes no more")

// An incoming body is given up if a piece of it takes longer than the time limit,
// so that nobody holds a handler by sending a byte now and then; and if all that
// are not whole yet are too large.
type incoming struct {
	io.Reader
	handler *Handler
	rc      http.ResponseController
	read    int64
	left    int // of the piece
}

func (b *incoming) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.left = len(piece{})
		_ = b.rc.SetReadDeadline(time.Now().Add(b.handler.opts.WriteTimeout)) // fails where Read does
	}
	n, err := b.Reader.Read(p)
	b.left -= n
	b.read += int64(n)
	if b.handler.incoming.Add(int64(n)) > b.handler.opts.MaxIncomingBytes {
		return 0, errIncoming // or nobody would hear of it with the last bytes
	}
	return n, err
}

func (b *incoming) end() { b.handler.incoming.Add(-b.read) }

// readAll reads length bytes, or to the end if length is negative. The result
// has no room to spare, because a log may keep it for long.
//
// A length is believed only as far as there is reason to: who claims much and
// sends nothing shall not cost memory.
func readAll(r io.Reader, length int64) ([]byte, error) {
	const credit, growth = 64 << 10, 8
	if length < 0 {
		var b bytes.Buffer
		_, err := b.ReadFrom(r)
		return bytes.Clone(b.Bytes()), err
	}
	data := make([]byte, 0, min(length, credit))
	for {
		n, err := io.ReadFull(r, data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err != nil || int64(len(data)) == length {
			return data, err
		}
		data = append(make([]byte, 0, min(length, growth*int64(len(data)))), data...)
	}
}

// refuseEncoding refuses bodies that are not sent as they are.
func refuseEncoding(r *http.Request) *Problem {
	for coding := range elements(r.Header["Content-Encoding"]) {
		if !strings.EqualFold(coding, "identity") {
			p := newProblem("unsupported-media-type", "the body has a Content-Encoding")
			p.Header = http.Header{"Accept-Encoding": {"identity"}} // RFC 9110 §12.5.3
			return p
		}
	}
	return nil
}

// unsupportedMedia says which media types are read here (RFC 9110 §15.5.16).
func unsupportedMedia(accept string) *Problem {
	p := newProblem("unsupported-media-type", "the body is none of "+accept)
	p.Header = http.Header{"Accept": {accept}}
	return p
}

// readForm reads the body of a reading request (PROTOCOL.md §5.13). Members
// that are for the URL only are ignored.
func (h *Handler) readForm(w http.ResponseWriter, r *http.Request) (url.Values, *Problem) {
	if problem := refuseEncoding(r); problem != nil {
		return nil, problem
	}
	media := r.Header.Get("Content-Type")
	base, _, _ := mime.ParseMediaType(media)
	parse := parseForm
	switch {
	case base == "application/json":
		parse = parseJSONForm
	case base == "application/x-www-form-urlencoded":
	case media == "" && r.ContentLength == 0: // all is in the URL
	default:
		return nil, unsupportedMedia("application/x-www-form-urlencoded, application/json")
	}
	body, problem := h.readBody(w, r, h.opts.MaxBodyBytes)
	if problem != nil {
		return nil, problem
	}
	return parse(body)
}

func parseForm(body []byte) (url.Values, *Problem) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, newProblem("bad-parameter", "the form cannot be decoded")
	}
	return form, nil
}

func parseJSONForm(body []byte) (url.Values, *Problem) {
	form := make(url.Values)
	for m, err := range jsonscan.Members(body) {
		if err != nil {
			return nil, problemOf(err)
		}
		var values []string
		ok := true
		name := string(m.Key)
		switch name {
		case "topic":
			values, ok = jsonStrings(m.Value)
		case "after":
			values, ok = jsonString(m.Value)
		case "wait", "limit":
			if values, ok = jsonString(m.Value); !ok {
				values, ok = []string{string(m.Value)}, true // a number, or no value of it
			}
		default:
			continue
		}
		if !ok {
			return nil, newProblem("bad-parameter", name+" has a value of the wrong kind")
		}
		form[name] = values
	}
	return form, nil
}

// jsonStrings reads a string, or a list of strings.
func jsonStrings(value []byte) ([]string, bool) {
	if value[0] != '[' {
		return jsonString(value)
	}
	var list []string
	for element, problem := range splitArray(value) {
		s, err := jsonscan.String(element)
		if problem != nil || err != nil {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

func jsonString(value []byte) ([]string, bool) {
	s, err := jsonscan.String(value)
	return []string{s}, err == nil
}
