package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/duplexhq/duplex/internal/h2"
	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
	"github.com/duplexhq/duplex/view"
)

// A Server is a log, its topics and its listeners. New makes one, Run runs it;
// Start and Shutdown are for those who want to do something between.
type Server struct {
	config      Config
	logger      *loggerQueue
	log         topic.Log
	hub         *topic.Hub
	presence    *presence.Recorder // nil: nothing is recorded
	view        *view.Handler
	http        *http.Server
	http2       *h2.Server
	hosts       hostRule
	connections connections
	returns     *returns

	progress     progress
	certificates certificates // nil: no TLS
	addresses    []listenAddress
	listen       func(network, address string) (net.Listener, error)   // net.Listen
	listenPacket func(network, address string) (net.PacketConn, error) // net.ListenPacket
	endpoints    []*endpoint                                           // open
	serving      sync.WaitGroup
	watching     context.CancelFunc // of the certificates
	failed       chan error         // of a listener

	stop    sync.Once
	stopErr error
}

// New returns a server that does not listen yet. config may be nil. Until ctx is
// done, it waits for the log to be read, or for NATS to answer. Shutdown must be
// called, by Run or by the caller.
func New(ctx context.Context, config *Config) (server *Server, err error) {
	s := &Server{config: config.withDefaults(), listen: net.Listen, listenPacket: net.ListenPacket, returns: newReturns()}
	c := &s.config
	s.logger = newLoggerQueue(c.Logger.Handler())
	c.Logger = slog.New(s.logger)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	s.hosts = newHostRule(c.hosts())
	s.connections.limit, s.connections.mostRefused = connectionLimits(openFiles(), c.MaxConnections)
	s.failed = make(chan error, 1+2*(len(c.Listen)+len(c.Listeners))) // the log, TCP and UDP
	rules, err := topic.NewRules(c.rules()...)
	if err != nil {
		return nil, err
	}
	if s.certificates, err = newCertificates(c); err != nil {
		return nil, err
	}
	if s.addresses, err = c.addresses(s.certificates != nil); err != nil {
		return nil, err
	}
	if s.log, err = openLog(ctx, c, rules); err != nil {
		return nil, err
	}
	s.hub = topic.NewHub(s.log, &topic.HubOptions{Ping: c.Ping, MaxLagBytes: c.MaxLagBytes, MaxLagTime: c.MaxLagTime, Yield: poller.Yield})
	if len(c.Presence) > 0 {
		if s.presence, err = presence.New(s.hub, c.presence()); err != nil {
			return nil, err
		}
	}
	if s.view, err = view.New(s.hub, s.viewOptions()); err != nil {
		return nil, err
	}
	s.http = s.newHTTP()
	s.http2 = h2.New(c.http2(s.http.ErrorLog))
	s.http2.Configure(s.http, s.connections.goOn)
	return s, nil
}

// viewOptions are the view's: it shows topics through this server's connections.
func (s *Server) viewOptions() *view.Options {
	c := &s.config
	return &view.Options{
		MaxEventBytes:    c.MaxEventBytes,
		MaxBodyBytes:     c.MaxBodyBytes,
		MaxIncomingBytes: c.MaxIncomingBytes,
		MaxSubscriptions: c.MaxSubscriptions,
		MaxWait:          c.MaxWait,
		WriteTimeout:     c.WriteTimeout,
		SendBuffer:       c.SendBuffer,
		NoCompression:    c.NoCompression,
		Ping:             c.Ping,
		IdleTimeout:      idleTimeout,
		Take:             s.lease,
		WebTransport:     s.webTransport,
		TakeStream:       s.leaseStream,
		AllowOrigins:     c.AllowOrigins,
		Presence:         s.presence,
		Logger:           c.Logger,
	}
}

// newHTTP makes the server of all endpoints.
func (s *Server) newHTTP() *http.Server {
	c, certified := &s.config, s.certificates != nil
	h := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         c.protocols(certified),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    c.MaxHeaderBytes,
		BaseContext:       func(l net.Listener) context.Context { return context.WithValue(context.Background(), listenerKey{}, l) },
		ConnContext:       s.connections.accepted,
		ConnState:         s.connections.changed,
		ErrorLog:          newErrorLog(c.Logger),
	}
	if certified {
		h.TLSConfig = s.certificates.config()
	}
	return h
}

// release closes what New has opened, as far as it came.
func (s *Server) release() (err error) {
	s.presence.Close()
	if s.hub != nil {
		s.hub.Close()
		err = s.log.Close()
	}
	s.logger.close()
	return err
}

// Start listens on all addresses and serves them. It returns when they are
// open, or with an error when one cannot be.
func (s *Server) Start() error {
	if err := s.open(); err != nil {
		return err
	}
	if c, ok := s.certificates.(*acmeCertificates); ok {
		tlsPort, plainPort := s.challengePorts()
		c.begin(tlsPort, plainPort, s.config.Logger)
	}
	for _, e := range s.endpoints {
		// Ends when Shutdown closes the listener. Joined by Shutdown.
		s.serving.Go(func() {
			if err := s.http.Serve(e); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- fmt.Errorf("serve %s: %w", e.Addr(), err)
			}
		})
		if e.http3 != nil {
			// Ends, and is joined, by Shutdown.
			s.serving.Go(func() {
				if err := e.http3.serve(); !errors.Is(err, http.ErrServerClosed) {
					s.failed <- fmt.Errorf("serve HTTP/3 on %s: %w", e.Addr(), err)
				}
			})
		}
		s.config.Logger.Info("listening", "address", e.Addr().String(), "tls", e.tls != nil, "versions", e.versions)
	}
	watching, stop := context.WithCancel(context.Background())
	s.watching = stop
	if s.certificates != nil {
		s.serving.Go(func() { s.certificates.watch(watching, s.config.Logger) }) // Ends, and is joined, by Shutdown.
	}
	s.serving.Go(func() { s.watchLog(watching) })        // Ends, and is joined, by Shutdown.
	s.serving.Go(func() { _ = s.http.Serve(s.returns) }) // Ends when Shutdown closes it. Joined by Shutdown.
	return nil
}

// Run starts the server, if Start has not been called, and serves until ctx is
// done or a listener fails. Then it stops in good order, within
// Config.DrainTimeout.
func (s *Server) Run(ctx context.Context) error {
	var err error
	if s.endpoints == nil {
		err = s.Start()
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.failed:
		}
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
	defer cancel()
	return errors.Join(err, s.Shutdown(drain))
}

// Shutdown stops the server (PROTOCOL.md §12): new requests are refused, those
// in progress are finished, subscribers are told to go on elsewhere. When ctx
// is done first, what is left is cut, and the error is the context's cause.
// Later calls wait for the first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop.Do(func() { s.stopErr = s.shutdown(ctx) })
	return s.stopErr
}

func (s *Server) shutdown(ctx context.Context) error {
	answered := s.progress.stop()
	if s.endpoints == nil { // it was never started
		for _, l := range s.config.Listeners {
			l.Close() // nothing was accepted
		}
	} else {
		s.watching()
		s.config.Logger.Info("stopping", "connections", s.connections.count())
	}
	err := s.view.Shutdown(ctx)
	select {
	case <-answered:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("stop: %d connections were cut: %w", s.connections.count(), err)
	}
	// Until here the listeners were open, so that whoever comes is told.
	last, cancel := context.WithTimeout(ctx, lastAnswers)
	defer cancel()
	for _, e := range s.endpoints {
		if e.http3 != nil {
			s.serving.Go(func() { e.http3.shutdown(last) }) // Ends with last. Joined below.
		}
	}
	s.serving.Go(func() { _ = s.http2.Shutdown(last) }) // Ends with last, when what is left is cut. Joined below.
	if s.http.Shutdown(last) != nil {
		s.http.Close() // its error is that of listeners that are closed already
	}
	s.serving.Wait()
	for _, e := range s.endpoints {
		if e.http3 != nil {
			err = errors.Join(err, e.http3.close())
		}
	}
	return errors.Join(err, s.release())
}
