package sse

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// errorBodyBytes and errorBodyWait bound what is read of an answer that is not
// a stream.
const (
	errorBodyBytes = 4 << 10
	errorBodyWait  = 5 * time.Second
)

// ResponseError says that the server answered with something that is not an
// event stream: a status other than 200, or another Content-Type.
type ResponseError struct {
	StatusCode int
	Header     http.Header
	Body       []byte // how it begins, at most 4 KiB
}

func (e *ResponseError) Error() string {
	if e.StatusCode == http.StatusOK {
		return fmt.Sprintf("sse: answer has Content-Type %q", e.Header.Get("Content-Type"))
	}
	return fmt.Sprintf("sse: answer has status %d %s", e.StatusCode, http.StatusText(e.StatusCode))
}

// responseError keeps what a caller may want to know of an answer. As much of
// its body as could be read will do.
func responseError(resp *http.Response) *ResponseError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyBytes))
	return &ResponseError{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}
}

// retryAfter is how long the server wants to be left alone.
func retryAfter(cause error) time.Duration {
	e, ok := errors.AsType[*ResponseError](cause)
	if !ok || !Temporary(e) {
		return 0
	}
	return parseRetryAfter(e.Header.Get("Retry-After"), time.Now())
}

// isEventStream ignores the parameters: UTF-8 is the only encoding there is.
func isEventStream(header http.Header) bool {
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}

// origin serializes the origin of a URL (HTML §7.1.1): lower case, without a
// default port.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":")
}
