package h2

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A responseWriter is what a handler answers by. It may outlive the handler.
type responseWriter struct{ x *exchange }

var (
	_ io.StringWriter = (*responseWriter)(nil)
	_ http.Pusher     = (*responseWriter)(nil)
	_ http.Flusher    = (*responseWriter)(nil)
)

func (w *responseWriter) Header() http.Header { return w.x.header }

// WriteHeader sends 1xx at once.
func (w *responseWriter) WriteHeader(status int) {
	x := w.x
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	switch {
	case x.status != 0: // too late
	case status == http.StatusSwitchingProtocols: // "HTTP/2 removes support for" it (RFC 9113 §8.6)
	case status < 200:
		x.inform(status)
	default:
		x.choose(status)
	}
}

// inform sends an answer that comes before the answer.
func (x *exchange) inform(status int) {
	c := x.stream.conn
	c.mu.Lock()
	defer c.unlock()
	if x.writable() != nil || x.headSent {
		return
	}
	x.continued = x.continued || status == http.StatusContinue
	c.m.Field(":status", strconv.Itoa(status), false)
	x.fields(x.header)
	c.m.SendHeaders(x.stream.wire, false)
	c.flush()
}

// choose fixes the status, and what depends on it.
func (x *exchange) choose(status int) {
	x.status = status
	bodiless := status == http.StatusNoContent || status == http.StatusNotModified
	x.quiet = bodiless || x.request.Method == http.MethodHead
	x.chosen = maps.Clone(x.header)
	if text := x.chosen.Get("Content-Length"); text != "" {
		length, err := strconv.ParseUint(text, 10, 63)
		if err != nil || status == http.StatusNoContent {
			delete(x.chosen, "Content-Length")
			return
		}
		x.length = int64(length)
	}
}

func (w *responseWriter) Write(p []byte) (int, error) { return w.write(p, "") }

func (w *responseWriter) WriteString(s string) (int, error) { return w.write(nil, s) }

func (w *responseWriter) write(p []byte, text string) (int, error) {
	x := w.x
	if x.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	size := len(p) + len(text)
	switch {
	case x.left:
		return 0, http.ErrHijacked
	case x.status == http.StatusNoContent || x.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case x.length >= 0 && x.written+int64(size) > x.length:
		return 0, http.ErrContentLength
	}
	x.written += int64(size)
	if x.buffer == nil {
		x.buffer = answerBuffers.Get().(*answerBuffer)
	}
	if size > len(x.buffer)-x.buffered && x.buffered > 0 {
		if err := x.flush(); err != nil {
			return 0, err
		}
	}
	if size <= len(x.buffer)-x.buffered {
		x.buffered += copy(x.buffer[x.buffered:], p)
		x.buffered += copy(x.buffer[x.buffered:], text)
		return size, nil
	}
	if len(text) > 0 {
		p = []byte(text)
	}
	if err := x.send(p); err != nil {
		return 0, err
	}
	return size, nil
}

// flush sends what is buffered, if there is something or the header.
func (x *exchange) flush() error {
	n := x.buffered
	x.buffered = 0
	if n == 0 && x.headSent {
		return nil
	}
	if n == 0 {
		return x.send(nil)
	}
	return x.send(x.buffer[:n])
}

func (w *responseWriter) Flush() { _ = w.FlushError() } // it has no error to give

func (w *responseWriter) FlushError() error {
	x := w.x
	if x.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	err := x.flush()
	x.stream.conn.mu.Lock()
	defer x.stream.conn.unlock()
	if err == nil {
		err = x.writable()
	}
	if !x.done && !x.left {
		x.free() // who flushes may wait for long
	}
	return err
}

func (w *responseWriter) SetReadDeadline(t time.Time) error  { return w.x.setReadBy(t) }
func (w *responseWriter) SetWriteDeadline(t time.Time) error { return w.x.setWriteBy(t) }

// EnableFullDuplex is for HTTP/1.1: here, both directions are independent.
func (w *responseWriter) EnableFullDuplex() error { return nil }

// sendHead sends the header, of an answer that begins with p: all of it, if it
// ends. The caller holds mu.
func (x *exchange) sendHead(p []byte, ends bool) {
	c, m, h := x.stream.conn, x.stream.conn.m, x.chosen
	x.headSent = true
	for _, line := range h["Trailer"] {
		for key := range strings.SplitSeq(line, ",") {
			if key = http.CanonicalHeaderKey(strings.TrimSpace(key)); httpguts.ValidTrailerHeader(key) && !slices.Contains(x.trailers, key) {
				x.trailers = append(x.trailers, key)
			}
		}
	}
	bodiless := x.status == http.StatusNoContent || x.status == http.StatusNotModified
	trailing := len(x.trailers) > 0 || ends && hasTrailerPrefix(x.header)
	m.Field(":status", strconv.Itoa(x.status), false)
	x.fields(h)
	if !bodiless {
		if _, typed := h["Content-Type"]; !typed && len(p) > 0 && h.Get("Content-Encoding") == "" {
			m.Field("content-type", http.DetectContentType(p), false)
		}
		isHead := x.request.Method == http.MethodHead
		if _, measured := h["Content-Length"]; ends && !measured && (!isHead || len(p) > 0) {
			m.Field("content-length", strconv.Itoa(len(p)), false)
		}
	}
	if _, dated := h["Date"]; !dated {
		m.Field("date", time.Now().UTC().Format(http.TimeFormat), false)
	}
	m.SendHeaders(x.stream.wire, ends && !trailing && (x.quiet || len(p) == 0))
	if httpguts.HeaderValuesContainsToken(h["Connection"], "close") { // as net/http takes it
		c.draining = true
		m.Depart()
	}
}

func hasTrailerPrefix(h http.Header) bool {
	for key := range h {
		if strings.HasPrefix(key, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// fields adds those of the header, without what HTTP/2 has no use for (RFC 9113
// §8.2.2).
func (x *exchange) fields(h http.Header) {
	for key, values := range h {
		if !httpguts.ValidHeaderFieldName(key) || strings.HasPrefix(key, http.TrailerPrefix) {
			continue
		}
		name := strings.ToLower(key)
		switch name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			continue
		case "trailer":
			if x.status < 200 {
				continue
			}
		}
		if slices.Contains(x.trailers, key) {
			continue
		}
		for _, value := range values {
			if value = strings.Trim(value, " \t"); httpguts.ValidHeaderFieldValue(value) {
				x.stream.conn.m.Field(name, value, name == "set-cookie")
			}
		}
	}
}

// trailer gives the fields that follow the body.
func (x *exchange) trailer() (fields [][2]string) {
	add := func(key string, values []string) {
		for _, value := range values {
			if httpguts.ValidHeaderFieldName(key) && httpguts.ValidHeaderFieldValue(value) {
				fields = append(fields, [2]string{strings.ToLower(key), value})
			}
		}
	}
	for _, key := range x.trailers {
		add(key, x.header[key])
	}
	for key, values := range x.header {
		if key, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			add(key, values)
		}
	}
	slices.SortFunc(fields, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return fields
}
