package h2

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// newExchange makes a request of its head.
func newExchange(s *stream, head *wire.Head) *exchange {
	c := s.conn
	x := &exchange{stream: s, length: -1, continued: true, header: make(http.Header)}
	x.changed.L = &c.mu
	s.x = x
	r := &http.Request{
		Method:        head.Method,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        make(http.Header, len(head.Fields)),
		Body:          http.NoBody,
		ContentLength: head.Length,
		Host:          head.Authority,
		RemoteAddr:    c.remote,
		RequestURI:    head.Path,
		TLS:           c.tls,
	}
	for _, f := range head.Fields {
		key := http.CanonicalHeaderKey(f.Name)
		// "If there are multiple Cookie header fields after decompression, these
		// MUST be concatenated" (RFC 9113 §8.2.3).
		if key == "Cookie" && len(r.Header["Cookie"]) > 0 {
			r.Header["Cookie"][0] += "; " + f.Value
			continue
		}
		r.Header[key] = append(r.Header[key], f.Value)
	}
	if head.Protocol != "" {
		r.Header[":protocol"] = []string{head.Protocol} // as net/http has it
	}
	if httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
		delete(r.Header, "Expect")
		x.continued = false
	}
	for _, line := range r.Header["Trailer"] {
		for key := range strings.SplitSeq(line, ",") {
			switch key = http.CanonicalHeaderKey(textproto.TrimString(key)); key {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
			default:
				if r.Trailer == nil {
					r.Trailer = make(http.Header)
				}
				r.Trailer[key] = nil
			}
		}
	}
	delete(r.Header, "Trailer")
	if head.Ends {
		r.ContentLength = 0
	} else {
		x.body = &requestBody{x: x}
		r.Body = x.body
	}
	x.judge(r, head)
	ctx, cancel := context.WithCancel(c.ctx)
	x.request, x.cancel = r.WithContext(ctx), cancel
	return x
}

// judge finds what cannot be given to a handler.
func (x *exchange) judge(r *http.Request, head *wire.Head) {
	var err error
	switch {
	case head.TooLarge:
		x.refuse(http.StatusRequestHeaderFieldsTooLarge)
	case head.Method == http.MethodConnect && head.Protocol == "":
		r.URL, r.RequestURI = &url.URL{Host: head.Authority}, head.Authority
	default:
		if r.URL, err = url.ParseRequestURI(head.Path); err != nil {
			x.refuse(http.StatusBadRequest)
		}
	}
	if r.URL == nil {
		r.URL = new(url.URL)
	}
}

func (x *exchange) refuse(status int) {
	x.answer = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, http.StatusText(status), status)
	})
}
