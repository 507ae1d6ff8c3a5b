package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view"
)

// A Server is a log, its topics and its listeners. New makes one, Run runs it;
// Start and Shutdown are for those who want to do something between.
type Server struct {
	config      Config
	log         topic.Log
	hub         *topic.Hub
	view        *view.Handler
	http        *http.Server
	hosts       hostRule
	connections connections
	returns     *returns

	progress  progress
	listen    func(network, address string) (net.Listener, error) // net.Listen
	listeners []net.Listener
	serving   sync.WaitGroup
	failed    chan error // of a listener

	stop    sync.Once
	stopErr error
}

// New returns a server that does not listen yet. config may be nil. Shutdown
// must be called, by Run or by the caller.
func New(config *Config) (*Server, error) {
	s := &Server{config: config.withDefaults(), listen: net.Listen, returns: newReturns()}
	c := &s.config
	s.hosts = newHostRule(c.hosts())
	s.connections.limit = c.MaxConnections
	s.failed = make(chan error, len(c.Listen))
	rules, err := topic.NewRules(c.Rules...)
	if err != nil {
		return nil, err
	}
	s.log = memlog.Open(&memlog.Options{
		RetainEvents:      c.RetainEvents,
		RetainAge:         c.RetainAge,
		RetainBytes:       c.RetainBytes,
		IdempotencyWindow: c.IdempotencyWindow,
		MaxTopics:         c.MaxTopics,
		MaxKeys:           c.MaxKeys,
		Rules:             rules,
	})
	s.hub = topic.NewHub(s.log, &topic.HubOptions{Ping: c.Ping, MaxLagBytes: c.MaxLagBytes, MaxLagTime: c.MaxLagTime})
	s.view, err = view.New(s.hub, &view.Options{
		MaxEventBytes:    c.MaxEventBytes,
		MaxBodyBytes:     c.MaxBodyBytes,
		MaxSubscriptions: c.MaxSubscriptions,
		MaxWait:          c.MaxWait,
		WriteTimeout:     c.WriteTimeout,
		SendBuffer:       c.SendBuffer,
		NoCompression:    c.NoCompression,
		Ping:             c.Ping,
		IdleTimeout:      idleTimeout,
		Take:             s.lease,
		AllowOrigins:     c.AllowOrigins,
		Logger:           c.Logger,
	})
	if err != nil {
		s.hub.Close()
		return nil, errors.Join(err, s.log.Close())
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    c.MaxHeaderBytes,
		BaseContext:       func(l net.Listener) context.Context { return context.WithValue(context.Background(), listenerKey{}, l) },
		ConnContext:       s.connections.accepted,
		ConnState:         s.connections.changed,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn), // panics, too
	}
	return s, nil
}

// Start listens on all addresses and serves them. It returns when they are
// open, or with an error when one cannot be.
func (s *Server) Start() error {
	for _, address := range s.config.Listen {
		l, err := s.listen("tcp", address)
		if err != nil {
			for _, open := range s.listeners {
				err = errors.Join(err, open.Close())
			}
			s.listeners = nil
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	for _, l := range s.listeners {
		// Ends when Shutdown closes the listener. Joined by Shutdown.
		s.serving.Go(func() {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		})
		s.config.Logger.Info("listening", "address", l.Addr().String())
	}
	s.serving.Go(func() { _ = s.http.Serve(s.returns) }) // Ends when Shutdown closes it. Joined by Shutdown.
	return nil
}

// Addrs are the addresses that the server listens on, in the order of
// Config.Listen.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Run starts the server, if Start has not been called, and serves until ctx is
// done or a listener fails. Then it stops in good order, within
// Config.DrainTimeout.
func (s *Server) Run(ctx context.Context) error {
	var err error
	if s.listeners == nil {
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
	if s.listeners != nil {
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
	if s.http.Shutdown(last) != nil {
		s.http.Close() // its error is that of listeners that are closed already
	}
	s.serving.Wait()
	s.hub.Close()
	return errors.Join(err, s.log.Close())
}
