package client_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/conformance"
	"github.com/duplexhq/duplex/client/http3"
	"github.com/duplexhq/duplex/topic"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, &conformance.Agent{Start: startAgent, InBubble: true})
}

var sockets = flag.Bool("sockets", false, "judge the client by all cases over real sockets, too, as other clients are: 40 s")

// The same over real sockets, as far as it takes no time.
func TestConformanceOnSockets(t *testing.T) {
	quick := []string{
		"subscriptions of one client", "the end of a topic", "the token has expired", "published while the server is away",
		"network: upgrade never answered", "network: streams held to their end", "500 changes under load",
		"webtransport", "udp: blocked", "udp: the NAT forgets",
	}
	skip := make(map[string]string)
	for _, c := range conformance.Cases {
		if !*sockets && !slices.Contains(quick, c.Name) {
			skip[c.Name] = "needs -sockets: the bubble has judged the same, with exact times"
		}
	}
	conformance.Run(t, &conformance.Agent{Start: startAgent, Skip: skip})
}

// An agent does what package conformance says, with one client.
type agent struct {
	network conformance.Network
	client  *client.Client
	quic    *http3.Transport // nil without UDP
	ctx     context.Context
	cancel  context.CancelFunc
	doing   sync.WaitGroup
	subs    map[string]context.CancelFunc

	mu  sync.Mutex // guards what follows
	out *json.Encoder
}

func startAgent(t testing.TB, network conformance.Network) (io.WriteCloser, io.Reader) {
	commands, in := io.Pipe()
	out, reports := io.Pipe()
	a := &agent{network: network, out: json.NewEncoder(reports), subs: make(map[string]context.CancelFunc)}
	go func() {
		defer reports.Close()
		lines := bufio.NewScanner(commands)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var c conformance.Command
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Error(err)
				return
			}
			a.do(&c)
		}
	}()
	return in, out
}

func (a *agent) report(r conformance.Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Encode(r) // nobody listens: the test is over
}

func (a *agent) do(c *conformance.Command) {
	switch c.Do {
	case "open":
		a.open(c)
	case "subscribe":
		ctx, cancel := context.WithCancel(a.ctx)
		a.subs[c.Ref] = cancel
		a.doing.Go(func() { a.subscribe(ctx, c) })
	case "unsubscribe":
		a.subs[c.Ref]()
	case "publish":
		// The order is that of the calls, so this one has to be in the outbox first.
		before := a.client.Unsent()
		a.doing.Go(func() { a.publish(c) })
		for range 100 {
			if a.client.Unsent() > before {
				break
			}
			time.Sleep(time.Millisecond)
		}
	case "end":
		a.doing.Go(func() {
			err := a.client.End(a.ctx, c.Topic)
			a.report(conformance.Report{Report: "answer", Ref: c.Ref, Error: told(err)})
		})
	case "history":
		a.doing.Go(func() {
			page, err := a.client.History(a.ctx, []string{c.Topic}, &client.HistoryOptions{After: c.After, Limit: c.Limit})
			r := conformance.Report{Report: "answer", Ref: c.Ref, Error: told(err)}
			if err == nil {
				r.Page, _ = json.Marshal(map[string]any{"events": page.Events, "cursor": page.Cursor, "more": page.More})
			}
			a.report(r)
		})
	case "transports":
		var transports []client.Transport
		for _, t := range c.Transports {
			transports = append(transports, client.Transport(t))
		}
		if err := a.client.Use(transports...); err != nil {
			a.report(conformance.Report{Report: "answer", Ref: c.Ref, Error: told(err)})
		}
	case "check":
		a.client.Check()
	case "close":
		a.client.Close()
		if a.quic != nil {
			_ = a.quic.Close() // there is nothing to be done about it
		}
		a.cancel()
		a.doing.Wait()
		a.report(conformance.Report{Report: "closed"})
	default:
		a.report(conformance.Report{Report: "answer", Ref: c.Ref, Error: &conformance.Error{Text: "unsupported"}})
	}
}

func (a *agent) open(c *conformance.Command) {
	transport := &http.Transport{DialContext: a.network.Dial}
	opts := &client.Options{HTTP: &http.Client{Transport: transport}, Memory: new(client.Memory)}
	if c.CA != "" {
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM([]byte(c.CA))
		transport.TLSClientConfig = config
		a.quic = http3.New(config)
		a.quic.Open = a.network.OpenUDP
		opts.WebTransport = a.quic.WebTransport
	}
	if c.Remembered != "" {
		opts.Memory.Set(c.Server, client.Transport(c.Remembered))
	}
	for _, t := range c.Transports {
		opts.Transports = append(opts.Transports, client.Transport(t))
	}
	if len(c.Tokens) > 0 {
		var mu sync.Mutex
		tokens := c.Tokens
		opts.Token = func(context.Context) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			token := tokens[0]
			tokens = tokens[min(1, len(tokens)-1):]
			return token, nil
		}
	}
	var err error
	a.client, err = client.New(c.Server, opts)
	if err != nil {
		a.report(conformance.Report{Report: "closed", Error: told(err)})
		return
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.report(conformance.Report{Report: "opened"})
	a.doing.Go(func() {
		for status := range a.client.Changes(a.ctx) {
			failed := make(map[string]string)
			for t, err := range status.Failed {
				failed[string(t)] = err.Error()
			}
			a.report(conformance.Report{Report: "status", Status: &conformance.Status{
				State: string(status.State), Transport: string(status.Transport), Failed: failed,
			}})
		}
	})
}

func (a *agent) subscribe(ctx context.Context, c *conformance.Command) {
	opts := &client.SubscribeOptions{After: c.After, Opened: func() {
		a.report(conformance.Report{Report: "placed", Ref: c.Ref})
	}}
	for e, err := range a.client.Subscribe(ctx, []string{c.Topic}, opts) {
		if err != nil {
			if ctx.Err() != nil {
				err = nil // unsubscribed
			}
			a.report(conformance.Report{Report: "over", Ref: c.Ref, Error: told(err)})
			return
		}
		a.report(conformance.Report{Report: "event", Ref: c.Ref, Event: line(&e)})
	}
	a.report(conformance.Report{Report: "over", Ref: c.Ref})
}

func (a *agent) publish(c *conformance.Command) {
	opts := &client.PublishOptions{Type: c.Event, Key: c.Key, Media: "application/json"}
	data := []byte(c.Data)
	var text string
	if json.Unmarshal(c.Data, &text) == nil {
		opts.Media, data = "text/plain", []byte(text)
	}
	if media, encoded, ok := strings.Cut(strings.TrimPrefix(text, "data:"), ";base64,"); c.Binary && ok {
		opts.Media = media
		data, _ = base64.StdEncoding.DecodeString(encoded)
	}
	id, err := a.client.Publish(a.ctx, c.Topic, data, opts)
	a.report(conformance.Report{Report: "answer", Ref: c.Ref, ID: id, Error: told(err)})
}

func told(err error) *conformance.Error {
	if err == nil {
		return nil
	}
	e := &conformance.Error{Text: err.Error()}
	if problem, ok := errors.AsType[*client.ProblemError](err); ok {
		e.Status, e.Name = problem.Status, problem.Name
	}
	return e
}

// line writes an event as the protocol does, as far as the judge looks at it.
func line(e *topic.Envelope) json.RawMessage {
	out := map[string]any{"id": e.ID, "data": string(e.Data)}
	if e.Topic != "" {
		out["topic"], out["time"] = e.Topic, e.Time
	}
	if e.Type != "" {
		out["event"] = e.Type
	}
	if e.Kind == topic.JSON {
		out["data"] = json.RawMessage(e.Data)
	}
	text, _ := json.Marshal(out)
	return text
}
