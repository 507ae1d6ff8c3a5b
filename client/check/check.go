// Package check finds out which transports pass between here and a Duplex
// server, over which versions of HTTP, and why the others do not.
//
//	report, err := check.Run(ctx, "https://example.com", nil)
//
// For each pair it makes a connection of its own, waits for the first signal
// (PROTOCOL.md §15.2), and sees small events through, which it publishes to a
// topic that nobody else knows.
package check

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/duplexhq/duplex/client"
)

const (
	defaultTimeout = 5 * time.Second

	// messages of messageBytes are what the overhead is measured by.
	messages     = 10
	messageBytes = 64
)

// Publishing is the row of a report that is no transport.
const Publishing client.Transport = "publish"

// Versions of HTTP.
const (
	HTTP1 = "HTTP/1.1"
	HTTP2 = "HTTP/2"
	HTTP3 = "HTTP/3"
)

// Options adjust a check. Nil is all defaults.
type Options struct {
	// Header is sent with every request: for an Origin, a token.
	Header http.Header

	// TLS is the configuration for https. If nil, the default one is used.
	TLS *tls.Config

	// Timeout is how long a first signal, and then the events, may take. If zero, 5 s.
	Timeout time.Duration

	// Topic is where events are published to: a name that nobody reads. If
	// empty, it is made up, below "duplex-check/". It is ended afterwards.
	Topic string

	// ReadOnly publishes nothing: then nothing is known of events, nor of their
	// overhead.
	ReadOnly bool

	// Dial connects to the server. If nil, a net.Dialer does. HTTP/3 does not
	// use it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Report is what Run has found.
type Report struct {
	URL     string   `json:"url"`
	Results []Result `json:"results"`

	// Best is the transport that clients will use; "" if none works.
	Best client.Transport `json:"best,omitempty"`
	// Advice says in a sentence or two what to make of it.
	Advice string `json:"advice"`
}

// A Result is what is known of a transport over a version of HTTP.
type Result struct {
	Transport client.Transport `json:"transport"`
	Version   string           `json:"version"`
	Works     bool             `json:"works"`

	// FirstSignal is the time from the beginning of a connection to the first
	// signal, or to the answer; in JSON in nanoseconds.
	FirstSignal time.Duration `json:"firstSignal,omitempty"`

	// Overhead is how many bytes a message of 64 bytes takes beyond them, both
	// ways, on the connection. Negative if it is not known.
	Overhead int `json:"overhead"`

	// Why not: a cause that programs can tell, and a text.
	Cause Cause  `json:"cause,omitempty"`
	Why   string `json:"why,omitempty"`
}

// A Cause is why a transport does not work.
type Cause string

const (
	NotOffered   Cause = "not-offered"      // the server has not this version of HTTP, or no WebSocket or WebTransport over it
	Unreached    Cause = "unreached"        // no name, no connection
	UDPBlocked   Cause = "udp-blocked"      // HTTP/3 is offered, and UDP is swallowed or refused
	Untrusted    Cause = "tls"              // the certificate is not trusted, or TLS fails
	Stripped     Cause = "upgrade-stripped" // the handshake arrives as a plain request
	Refused      Cause = "upgrade-refused"  // something on the way refuses handshakes
	Unanswered   Cause = "unanswered"       // there was no answer
	Silent       Cause = "silent"           // a WebSocket that is open, and nothing comes
	Held         Cause = "held"             // an answer that goes on is held back until its end
	Cut          Cause = "cut"              // the connection was cut
	Unauthorized Cause = "unauthorized"     // 401
	Origin       Cause = "origin-refused"   // 403 of the server to the Origin
	Host         Cause = "host-refused"     // 421 of the server to the Host
	Redirected   Cause = "redirected"       // to another URL
	Busy         Cause = "busy"             // 429 or 503
	NotDuplex    Cause = "not-duplex"       // an answer that a Duplex server does not give
	Other        Cause = "other"            // any other refusal
	Lost         Cause = "events-lost"      // the first signal came, and events did not
)

// Run checks the server at baseURL. The error says that nothing could be
// checked because baseURL or an option is wrong: what does not work is in the report.
func Run(ctx context.Context, baseURL string, opts *Options) (*Report, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("server %q: want http://HOST or https://HOST", baseURL)
	}
	c := &checker{base: base}
	if opts != nil {
		c.Options = *opts
	}
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.Topic = cmp.Or(c.Topic, "duplex-check/"+strings.ToLower(rand.Text()))
	if c.Dial == nil {
		c.Dial, c.proxied = new(net.Dialer).DialContext, true
	}
	return c.run(ctx), nil
}

type checker struct {
	Options
	base        *url.URL
	proxied     bool   // by what the environment says
	alternative string // HOST:PORT of HTTP/3
}

func (c *checker) run(ctx context.Context) *Report {
	var probes []*probe
	for _, version := range []string{HTTP1, HTTP2, HTTP3} {
		offered := c.offers(ctx, version)
		for _, t := range []client.Transport{client.WebSocket, client.WebTransport, client.SSE, client.Stream, client.Longpoll, client.Poll, Publishing} {
			if t == Publishing && c.ReadOnly || t == client.WebTransport && version != HTTP3 {
				continue
			}
			p := &probe{c: c, Result: Result{Transport: t, Version: version, Overhead: -1}}
			if offered != nil {
				p.fail(offered)
			}
			probes = append(probes, p)
		}
	}
	// What this publishes should not reach the others, which come after it.
	each(probes, func(p *probe) {
		if p.Transport == Publishing {
			p.connect(ctx)
		}
	})
	spare(probes)
	each(probes, func(p *probe) {
		if p.Transport != Publishing {
			p.connect(ctx)
		}
	})
	unmask(probes)
	if !c.ReadOnly && c.publish(ctx, probes) {
		each(probes, func(p *probe) { p.receive(ctx) })
		c.end(ctx, probes)
	}
	report := &Report{URL: c.base.String()}
	for _, p := range probes {
		p.release()
		report.Results = append(report.Results, p.Result)
	}
	report.advise()
	return report
}

// spare leaves out what needs UDP, where that was not answered.
func spare(probes []*probe) {
	for _, published := range probes {
		if published.Transport != Publishing || published.Cause != UDPBlocked {
			continue
		}
		for _, p := range probes {
			if p.Version == published.Version {
				p.fail(&failure{published.Cause, published.Why})
			}
		}
	}
}

// unmask tells streams that are held back with their header from a network that
// answers nothing, and what is not answered by UDP from UDP that is blocked.
func unmask(probes []*probe) {
	answered := make(map[string]bool) // by version
	for _, p := range probes {
		answered[p.Version] = answered[p.Version] || p.Transport == client.Poll && p.Works
	}
	for _, p := range probes {
		if p.Cause == UDPBlocked && answered[p.Version] {
			p.fail(errUnanswered.(*failure))
		}
		if (p.Transport == client.SSE || p.Transport == client.Stream) && p.Cause == Unanswered && answered[p.Version] {
			p.fail(&failure{Held, "nothing comes of an answer that goes on, while others do: something on the way holds it back until its end"})
		}
	}
}

// each runs f for the probes that have not failed, all at the same time.
func each(probes []*probe, f func(*probe)) {
	var all sync.WaitGroup
	for _, p := range probes {
		if p.Cause == "" {
			all.Go(func() { f(p) })
		}
	}
	all.Wait()
}

// publish has the events published by whichever way works.
func (c *checker) publish(ctx context.Context, probes []*probe) bool {
	for _, p := range probes {
		if p.Transport == Publishing && p.Works {
			return p.publish(ctx) == nil
		}
	}
	return false
}

// end ends the topic; that it may go on existing is no reason to fail.
func (c *checker) end(ctx context.Context, probes []*probe) {
	for _, p := range probes {
		if p.Transport == Publishing && p.Works {
			ctx, cancel := context.WithTimeout(ctx, c.Timeout)
			defer cancel()
			if resp, err := p.request(ctx, http.MethodDelete, nil, nil); err == nil {
				resp.Body.Close()
			}
			return
		}
	}
}
