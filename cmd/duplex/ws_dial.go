package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

const (
	// maxRedirects is how many redirects --location follows, as browsers do.
	maxRedirects = 20

	// maxGoodbye is how long a person who wants to leave has to wait for the
	// server's answer.
	maxGoodbye = 5 * time.Second
)

// dialFlags say how to connect.
type dialFlags struct {
	Header      []string `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Header field of the handshake; repeatable."`
	Subprotocol []string `placeholder:"NAME" help:"Subprotocol to offer; repeatable."`
	Origin      string   `placeholder:"ORIGIN" help:"Origin to pretend, as https://example.com."`
	Compress    bool     `help:"Offer to compress messages (permessage-deflate)."`
	Location    bool     `short:"L" help:"Follow redirects."`

	Proxy   string `xor:"proxy" placeholder:"URL" help:"Proxy: http://, https:// or socks5://[USER:PASSWORD@]HOST:PORT. Without it HTTP_PROXY, HTTPS_PROXY and NO_PROXY are obeyed."`
	NoProxy bool   `xor:"proxy" help:"Use no proxy, whatever the environment says."`

	CA         string `name:"ca" placeholder:"FILE" help:"Trust the certificates of this PEM file, and no others."`
	Cert       string `placeholder:"FILE" help:"Certificate to show to the server, in PEM."`
	Key        string `placeholder:"FILE" help:"Private key of --cert, if it is not in the same file."`
	Insecure   bool   `help:"Trust any certificate. Whoever is on the way can read and change everything."`
	ServerName string `name:"servername" placeholder:"NAME" help:"Name to ask the server's certificate for, instead of the host of the URL."`

	Timeout         time.Duration `default:"10s" placeholder:"TIME" help:"Time for connecting, for closing, and for each thing that a script or a checked replay waits for (default 10s)."`
	MaxMessageBytes size          `default:"64MiB" placeholder:"SIZE" help:"Message to receive (default 64MiB; 0 is no limit)."`
}

func (f *dialFlags) options(out *console) (*websocket.DialOptions, error) {
	header, err := parseHeader(f.Header)
	if err != nil {
		return nil, err
	}
	if f.Origin != "" {
		header.Set("Origin", f.Origin)
	}
	opts := &websocket.DialOptions{
		Options: websocket.Options{
			ReadLimit:    int64(unlimited(f.MaxMessageBytes)),
			CloseTimeout: min(f.Timeout, maxGoodbye),
		},
		Header:       header,
		Subprotocols: f.Subprotocol,
		Timeout:      f.Timeout,
	}
	if f.Compress {
		opts.Compression = &websocket.Compression{}
	}
	if f.Location {
		opts.MaxRedirects = maxRedirects
	}
	if opts.Proxy, err = f.proxy(); err != nil {
		return nil, err
	}
	if opts.TLS, err = f.tls(); err != nil {
		return nil, err
	}
	if f.Insecure {
		out.note("--insecure: any certificate is trusted; whoever is on the way can read and change everything")
	}
	return opts, nil
}

// proxy gives nil for what the environment says.
func (f *dialFlags) proxy() (func(*http.Request) (*url.URL, error), error) {
	switch {
	case f.NoProxy:
		return http.ProxyURL(nil), nil
	case f.Proxy == "":
		return nil, nil
	}
	u, err := url.Parse(f.Proxy)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil, usageError("--proxy: want http, https or socks5://[USER:PASSWORD@]HOST:PORT") // the value may hold a password
	}
	return http.ProxyURL(u), nil
}

func (f *dialFlags) tls() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: f.Insecure, ServerName: f.ServerName}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, usageError("--ca: " + err.Error())
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usageError("--ca: no certificate in " + f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, cmp.Or(f.Key, f.Cert))
		if err != nil {
			return nil, usageError("--cert: " + strings.TrimPrefix(err.Error(), "tls: "))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
