package conformance_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/conformance"
)

const readLimit = 256 << 10

// configurations are those in which all cases that apply have to pass. The cases about time limits
// have one for themselves: on a busy machine others may need longer.
var configurations = []struct {
	name        string
	timeout     time.Duration // for a handshake and for a message; 0 is the default
	compression *websocket.Compression
}{
	{"plain", 0, nil},
	{"time limits", time.Second, nil},
	{"deflate", 0, &websocket.Compression{Threshold: -1}},
	{"takeover", 0, &websocket.Compression{Threshold: -1, ServerTakeover: true, ClientTakeover: true, MaxContextBytes: -1}},
	{"small windows", 0, &websocket.Compression{Threshold: -1, ServerTakeover: true, ClientTakeover: true, MaxContextBytes: -1, ServerWindowBits: 9, ClientWindowBits: 10}},
}

// promises are what the connections of these tests are told to do.
func promises(timeout time.Duration) *conformance.Options {
	opts := &conformance.Options{
		Timeout:          30 * time.Second, // for machines that are busy: what passes does not wait for it
		Limit:            readLimit,
		Subprotocol:      "echo",
		SameOrigin:       true,
		HandshakeTimeout: timeout,
		MessageTimeout:   timeout,
	}
	if timeout > 0 {
		opts.Run = regexp.MustCompile("/(message-)?never-finished/")
	}
	return opts
}

func TestServer(t *testing.T) {
	for _, configuration := range configurations {
		t.Run(configuration.name, func(t *testing.T) {
			t.Parallel()
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
					Options: websocket.Options{
						ReadLimit:      readLimit,
						MessageTimeout: configuration.timeout,
						Compression:    configuration.compression,
					},
					Subprotocols: []string{"echo"},
				})
				if err != nil {
					return // Accept has answered
				}
				defer c.CloseNow()
				echo(context.Background(), c)
			})
			server := httptest.NewUnstartedServer(handler)
			server.Config.ReadHeaderTimeout = configuration.timeout
			server.Start()
			defer server.Close()
			results, err := conformance.RunServer(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), promises(configuration.timeout))
			if err != nil {
				t.Fatal(err)
			}
			judge(t, results, configuration.timeout)
		})
	}
}

func TestClient(t *testing.T) {
	for _, configuration := range configurations {
		t.Run(configuration.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { // ends with the last case, or with ctx
				err := runCases(ctx, "ws://"+l.Addr().String(), &websocket.DialOptions{
					Options: websocket.Options{
						ReadLimit:      readLimit,
						MessageTimeout: configuration.timeout,
						Compression:    configuration.compression,
					},
					Timeout: configuration.timeout,
				})
				if err != nil {
					t.Error(err)
					cancel()
				}
			}()
			results, err := conformance.RunClient(ctx, l, promises(configuration.timeout))
			if err != nil {
				t.Fatal(err)
			}
			judge(t, results, configuration.timeout)
		})
	}
}

// judge asks every case to pass that applies.
func judge(t *testing.T, results []conformance.Result, timeout time.Duration) {
	t.Helper()
	passed := 0
	for _, r := range results {
		switch r.Verdict {
		case conformance.Pass:
			passed++
		case conformance.Fail:
			t.Errorf("%s (%s, %s): %s", r.Case, r.RFC, r.Level, r.Detail())
		case conformance.Skip:
			// Without compression there is nothing to judge of it, and some cases need other
			// parameters than were agreed on.
			if !strings.Contains(r.Case, "deflate") && (timeout > 0 || !strings.Contains(r.Case, "never-finished")) {
				t.Errorf("%s: skipped: %q", r.Case, r.Reason)
			}
		}
	}
	t.Logf("%d of %d cases passed", passed, len(results))
}

func echo(ctx context.Context, c *websocket.Conn) error {
	for {
		messageType, message, err := c.Read(ctx)
		if err == nil {
			err = c.Write(ctx, messageType, message)
		}
		if err != nil {
			return err
		}
	}
}

// runCases is the client that RunClient asks for.
func runCases(ctx context.Context, url string, options *websocket.DialOptions) error {
	dial := func(path string, options *websocket.DialOptions) (*websocket.Conn, error) {
		c, _, err := websocket.Dial(ctx, url+path, options)
		return c, err
	}
	c, err := dial("/getCaseCount", nil) // not a case: a busy machine may take its time
	if err != nil {
		return err
	}
	_, text, err := c.Read(ctx)
	if err != nil {
		return err
	}
	c.Close(websocket.CloseNormal, "")
	count, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	places := make(chan struct{}, 8)
	for n := range count {
		places <- struct{}{}
		running.Go(func() { // ends with its connection
			if c, err := dial("/runCase?agent=duplex&case="+strconv.Itoa(n+1), options); err == nil {
				echo(ctx, c) // how it ends is for the judge
				c.CloseNow()
			}
			<-places
		})
	}
	running.Wait()
	c, err = dial("/updateReports?agent=duplex", nil)
	if err != nil {
		return err
	}
	return c.Close(websocket.CloseNormal, "")
}
