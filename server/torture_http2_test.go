package server_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// A gateway speaks HTTP/1.1 to clients, and HTTP/2 to the server: what clients do to
// their connections, it does to streams.
type gateway struct {
	address   string
	http      *http.Server
	transport *http.Transport
	served    chan struct{}
}

func (x *torture) newGateway() *gateway {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.Fatal(err)
	}
	config := x.tls.Clone()
	config.NextProtos = []string{"h2"}
	g := &gateway{address: l.Addr().String(), served: make(chan struct{}), transport: &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
		DialTLSContext: (&tls.Dialer{Config: config}).DialContext,
	}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: x.address})
	proxy.Transport, proxy.FlushInterval, proxy.ErrorLog = g.transport, -1, log.New(io.Discard, "", 0)
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.ProtoMajor != 2 {
			x.errorf("the gateway is answered by %s", resp.Proto)
		}
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	g.http = &http.Server{Handler: proxy, ErrorLog: proxy.ErrorLog}
	go func() { // ends by close, which joins it
		defer close(g.served)
		_ = g.http.Serve(l)
	}()
	return g
}

func (g *gateway) close() {
	g.http.Close() // its error is that of the listener
	<-g.served
	g.transport.CloseIdleConnections()
}
