package check

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

func (p *probe) post(ctx context.Context, event string, data ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errUnanswered)
	defer cancel()
	resp, err := p.request(ctx, http.MethodPost, url.Values{"event": {event}}, strings.NewReader(strings.Join(data, "")))
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return &failure{NotDuplex, "the answer to a publish is " + resp.Status}
	}
	return nil
}

// request sends a request about the topic; an answer that refuses is an error.
func (p *probe) request(ctx context.Context, method string, query url.Values, body io.Reader) (*http.Response, error) {
	req, err := p.newRequest(ctx, method, query, body)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain")
	}
	return p.do(req)
}

// newRequest makes a request about the topic, with the header fields that were
// given.
func (p *probe) newRequest(ctx context.Context, method string, query url.Values, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.way.url(p.c.Topic, query), body)
	if err != nil {
		return nil, err
	}
	for name, values := range p.c.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	return req, nil
}

func (p *probe) do(req *http.Request) (*http.Response, error) {
	resp, err := p.way.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what there is of it
		return nil, refused(resp.StatusCode, resp.Header, body)
	}
	return resp, nil
}

// get sends a GET for the given media type, as a browser would. It returns with
// the header, and cancel ends it.
func (p *probe) get(ctx context.Context, media string, query url.Values) (resp *http.Response, body io.Reader, err error) {
	req, err := p.newRequest(ctx, http.MethodGet, query, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", media)
	req.Header.Set("Accept-Encoding", "gzip") // as browsers do, whether the answer can be flushed or not
	if resp, err = p.do(req); err != nil {
		return nil, nil, err
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, media) {
		resp.Body.Close()
		return nil, nil, &failure{NotDuplex, fmt.Sprintf("the answer is %q, want %s", got, media)}
	}
	if err := p.readable(resp); err != nil {
		resp.Body.Close()
		return nil, nil, err
	}
	body = resp.Body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		body = &lazyGzip{from: resp.Body}
	}
	return resp, body, nil
}

// readable reports why a browser would keep the answer from a page of the
// Origin that is pretended (PROTOCOL.md §10.2).
func (p *probe) readable(resp *http.Response) error {
	origin := p.c.Header.Get("Origin")
	if origin == "" || strings.EqualFold(origin, p.c.base.Scheme+"://"+p.c.base.Host) {
		return nil
	}
	if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "*" && allowed != origin {
		return &failure{Origin, "the answer does not allow this Origin, so browsers keep it from the page (--allow-origin)"}
	}
	return nil
}

// lazyGzip reads nothing before it is read.
type lazyGzip struct {
	from   io.Reader
	reader *gzip.Reader
}

func (l *lazyGzip) Read(b []byte) (n int, err error) {
	if l.reader == nil {
		if l.reader, err = gzip.NewReader(l.from); err != nil {
			return 0, err
		}
	}
	return l.reader.Read(b)
}
