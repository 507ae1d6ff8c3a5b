package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
)

// RunServer runs the cases against the server at a ws URL, which has to send back each message as
// it is. The error is for a server that cannot be run against at all.
func RunServer(ctx context.Context, rawURL string, opts *Options) ([]Result, error) {
	opts = opts.withDefaults()
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "ws" || u.Hostname() == "" {
		return nil, fmt.Errorf("conformance: %q is not a ws URL", rawURL)
	}
	if !opts.Remote && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("conformance: %s is not on this machine", u.Hostname())
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "80")
	}
	newTrial := func(c *Case) *trial {
		return &trial{Options: opts, under: Server, c: c, host: u.Host, path: u.RequestURI(), dial: dialer(opts, address)}
	}
	knowsDeflate, err := probe(ctx, newTrial)
	if err != nil {
		return nil, err
	}
	cases := opts.cases(Server)
	results := make([]Result, len(cases))
	places := make(chan struct{}, opts.Parallel)
	var running sync.WaitGroup
	for i := range cases {
		places <- struct{}{}
		running.Go(func() { // ends after its case, whose waits are bounded
			t := newTrial(&cases[i])
			t.deflate = knowsDeflate
			results[i] = t.run(ctx)
			<-places
		})
	}
	running.Wait()
	return results, context.Cause(ctx)
}

func dialer(opts *Options, address string) func(context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: opts.Timeout}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
}

// probe finds out whether there is a WebSocket server, and whether it knows permessage-deflate.
func probe(ctx context.Context, newTrial func(*Case) *trial) (knowsDeflate bool, err error) {
	t := newTrial(&Case{})
	defer t.hangUp()
	err = t.connect(ctx, &handshake{
		Fields: []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"},
		Expect: check{SkipIf: map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"}},
	})
	if _, found := errors.AsType[skip](err); found {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("conformance: a plain handshake: %w", err)
	}
	return false, nil
}
