package webtransport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A failing logger panics when it is told of a panic of a request: so that one
// comes to the goroutine of the request's stream.
type failing struct {
	slog.Handler
	told atomic.Int32
}

func (f *failing) Handle(_ context.Context, r slog.Record) error {
	if f.told.Add(1); strings.HasPrefix(r.Message, "http3: panic") {
		panic("log")
	}
	return nil
}

// A panic costs one connection, whichever of its goroutines it is on.
func TestPanics(t *testing.T) {
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	defer certificates.Close()
	logger := &failing{Handler: slog.NewTextHandler(io.Discard, nil)}
	var conns atomic.Int32
	server := NewServer(&http3.Server{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("request")
			}
		}),
		Logger: slog.New(logger),
		ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			if conns.Add(1) == 1 {
				panic("connection")
			}
			return ctx
		},
	})
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	config := new(quic.Config)
	Configure(config)
	listener, err := quic.Listen(packets, http3.ConfigureTLSConfig(certificates.TLS), config)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // Ends with the listener.
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go func() { _ = server.Serve(conn) }() // Ends with the connection.
		}
	}()

	trust := certificates.Client().Transport.(*http.Transport).TLSClientConfig
	get := func(path string) error {
		var conn *quic.Conn // the only one: what fails on it is not tried again on another
		transport := &http3.Transport{TLSClientConfig: trust, Dial: func(ctx context.Context, addr string, c *tls.Config, q *quic.Config) (_ *quic.Conn, err error) {
			if conn != nil {
				return nil, context.Cause(conn.Context())
			}
			conn, err = quic.DialAddrEarly(ctx, addr, c, q)
			return conn, err
		}}
		defer transport.Close()
		answer, err := (&http.Client{Transport: transport}).Get("https://" + packets.LocalAddr().String() + path)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	for i, test := range []struct {
		path string
		code http3.ErrCode
	}{{"/", http3.ErrCodeInternalError}, {"/panic", http3.ErrCodeInternalError}, {"/", 0}} {
		err := get(test.path)
		var code http3.ErrCode
		if e, ok := errors.AsType[*http3.Error](err); ok {
			code = e.ErrorCode
		} else if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
			code = http3.ErrCode(e.ErrorCode)
		}
		if code != test.code || code == 0 && err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if told := logger.told.Load(); told != 3 { // of the request twice
		t.Errorf("%d panics were logged", told)
	}
}
