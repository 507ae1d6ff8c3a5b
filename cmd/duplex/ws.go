package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/client/http3"
	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/cmd/duplex/internal/wstalk"
	"github.com/duplexhq/duplex/websocket"
)

type wsCommand struct {
	URL string `arg:"" help:"ws://..., wss://..., or HOST/PATH. User and password in it are sent as basic authentication."`
	dialFlags

	Send      []string      `sep:"none" placeholder:"TEXT" help:"Text message to send first, after each connect; repeatable."`
	Binary    bool          `help:"The lines of the input are binary messages, in hex."`
	Wait      time.Duration `default:"1s" placeholder:"TIME" help:"After the end of the input, close when nothing has come for so long (default 1s)."`
	Reconnect bool          `xor:"mode" help:"Connect again when the connection is lost or closed, and after the end of the input, until a signal."`

	Script string  `xor:"mode" placeholder:"FILE" help:"Run the steps of this file, - is standard input, in place of the lines of the input."`
	Replay string  `xor:"mode" placeholder:"FILE" help:"Send what was sent in this recording, at the same times."`
	Speed  float64 `default:"1" placeholder:"N" help:"Replay so many times as fast (default 1)."`
	Check  bool    `help:"Fail if a replay is not answered as in the recording."`
	Record string  `placeholder:"FILE" help:"Write what is sent and received to this file, as --json does."`

	Frames  bool `help:"Show each frame."`
	Verbose bool `short:"v" help:"Show the header of the response, pings, pongs and closes."`
	JSON    bool `name:"json" help:"Print what is sent and received as lines of JSON."`
}

// Help is shown by duplex ws --help.
func (wsCommand) Help() string {
	return `Sends each line of the input as a text message, and prints the messages that come.

A line that begins with / is a command (// sends one that begins with /):

` + wstalk.CommandHelp + `
A script has a step on each line, and ends with exit code 1 at the first that fails:

` + wstalk.ScriptHelp + `
What a regular expression of expect has captured is $1 or ${name} in later steps; $$ is $.

Examples:

    duplex ws 127.0.0.1:8080/topics/room
    duplex ws 127.0.0.1:8080/topics --subprotocol duplex.v1 --frames
    echo hello | duplex ws wss://echo.example.com --wait 3s
    duplex ws wss://feed.example.com -H 'Authorization: Bearer ...' --send '{"op":"login"}' --reconnect --json
    duplex ws wss://user:secret@localhost:8443 --ca ca.pem --proxy socks5://127.0.0.1:1080
    duplex ws localhost:8443/topics/room --http3 --ca ca.pem
    duplex ws 127.0.0.1:8080/topics/room --script room.txt --timeout 2s
    duplex ws 127.0.0.1:8080/topics/room --record room.jsonl
    duplex ws 127.0.0.1:8080/topics/room --replay room.jsonl --speed 10 --check`
}

// Validate refuses flags that make no sense, or not together.
func (c *wsCommand) Validate() error {
	switch {
	case c.Speed <= 0:
		return errors.New("--speed: must be more than 0")
	case c.Timeout <= 0:
		return errors.New("--timeout: must be more than 0")
	case c.Check && c.Replay == "":
		return errors.New("--check: is for --replay")
	case c.Key != "" && c.Cert == "":
		return errors.New("--key: is for --cert")
	case c.HTTP3 && c.Proxy != "":
		return errors.New("--http3: goes through no proxy")
	}
	return nil
}

// Run talks until the input, the connection or the context ends.
func (c *wsCommand) Run(ctx context.Context, out *console) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	dial, err := c.options(out)
	if err != nil {
		return err
	}
	if c.HTTP3 {
		transport := http3.New(dial.TLS)
		defer transport.Close()
		dial.HTTP3 = transport
	}
	return wstalk.Run(ctx, target, &wstalk.Options{
		Dial:      *dial,
		In:        out.in,
		Out:       out.out,
		Err:       out.err,
		Person:    stdio.IsTerminal(out.in) && stdio.IsTerminal(out.err),
		Send:      c.Send,
		Binary:    c.Binary,
		Wait:      c.Wait,
		Timeout:   c.Timeout,
		Reconnect: c.Reconnect,
		Script:    c.Script,
		Replay:    c.Replay,
		Speed:     c.Speed,
		Check:     c.Check,
		Record:    c.Record,
		Frames:    c.Frames,
		Verbose:   c.Verbose,
		JSON:      c.JSON,
	})
}

// target is the URL to dial.
func (c *wsCommand) target() (string, error) {
	target := c.URL
	if !strings.Contains(target, "://") {
		scheme := "ws://"
		if c.HTTP3 {
			scheme = "wss://"
		}
		target = scheme + target
	}
	u, err := url.Parse(target)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return "", usageError("URL: " + e.Err.Error()) // without the password that may be in it
	}
	switch {
	case !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme):
		return "", usageError(fmt.Sprintf("URL: want ws or wss, not %s", u.Scheme))
	case u.Hostname() == "":
		return "", usageError("URL: has no host")
	case c.HTTP3 && u.Scheme != "wss" && u.Scheme != "https":
		return "", usageError("--http3: is for wss")
	case strings.Contains(target, "#"):
		return "", usageError("URL: has a fragment") // RFC 6455 §3
	}
	return target, nil
}

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
	HTTP3       bool     `name:"http3" env:"-" help:"Connect over HTTP/3 (RFC 9220), and over nothing else. For wss, which is the default then."`

	Proxy   string `xor:"proxy" placeholder:"URL" help:"Proxy: http://, https:// or socks5://[USER:PASSWORD@]HOST:PORT. Without it HTTP_PROXY, HTTPS_PROXY and NO_PROXY are obeyed."`
	NoProxy bool   `xor:"proxy" help:"Use no proxy, whatever the environment says."`

	tlsFlags

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

// tlsFlags say whom to trust, and who we are.
type tlsFlags struct {
	CA         string `name:"ca" placeholder:"FILE" help:"Trust the certificates of this PEM file, and no others."`
	Cert       string `placeholder:"FILE" help:"Certificate to show to the server, in PEM."`
	Key        string `placeholder:"FILE" help:"Private key of --cert, if it is not in the same file."`
	Insecure   bool   `help:"Trust any certificate. Whoever is on the way can read and change everything."`
	ServerName string `name:"servername" placeholder:"NAME" help:"Name to ask the server's certificate for, instead of the host of the URL."`
}

func (f *tlsFlags) tls() (*tls.Config, error) {
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
