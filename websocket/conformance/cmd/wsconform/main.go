// Command wsconform judges a WebSocket implementation by the RFCs.
//
//	wsconform -server ws://127.0.0.1:9001/echo    a server that sends back what it receives
//	wsconform -client 127.0.0.1:9002              a client that does, which has to connect there
//
// It prints a line for each case, and exits with 1 if one failed, and with 2 if they could not be
// run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"regexp"

	"github.com/duplexhq/duplex/websocket/conformance"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "wsconform:", err)
		os.Exit(2)
	case failed:
		os.Exit(1)
	}
}

type settings struct {
	conformance.Options
	server, client, jsonFile string
}

func run(ctx context.Context, args []string, out, messages io.Writer) (failed bool, err error) {
	s, err := parse(args, messages)
	if err != nil {
		return false, err
	}
	var results []conformance.Result
	if s.server != "" {
		results, err = conformance.RunServer(ctx, s.server, &s.Options)
	} else {
		results, err = s.runClient(ctx, messages)
	}
	if err != nil && results == nil {
		return false, err
	}
	if s.jsonFile != "" {
		if err := writeJSON(s.jsonFile, results); err != nil {
			return false, err
		}
	}
	return conformance.Failed(results), errors.Join(err, conformance.WriteTable(out, results))
}

func parse(args []string, messages io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("wsconform", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.StringVar(&s.server, "server", "", "`URL` of an echo server to judge")
	flags.StringVar(&s.client, "client", "", "`address` to listen on for an echo client to judge")
	flags.StringVar(&s.jsonFile, "json", "", "`file` for the results as JSON")
	flags.Func("run", "`regexp` of the cases to run", func(text string) (err error) {
		s.Run, err = regexp.Compile(text)
		return err
	})
	flags.DurationVar(&s.Timeout, "timeout", 0, "for each wait (default 5s)")
	flags.IntVar(&s.Parallel, "parallel", 0, "cases at a time against a server (default 8)")
	flags.BoolVar(&s.Remote, "remote", false, "allow a server or an address that is not on this machine: the cases are attacks")
	flags.Int64Var(&s.Limit, "limit", 0, "message limit in `bytes` that the implementation was told to have, at least 256 KiB")
	flags.StringVar(&s.Subprotocol, "subprotocol", "", "the one `name` that the implementation was told to speak")
	flags.BoolVar(&s.SameOrigin, "same-origin", false, "the implementation refuses pages of other origins")
	flags.DurationVar(&s.HandshakeTimeout, "handshake-timeout", 0, "how long the implementation waits for a handshake")
	flags.DurationVar(&s.MessageTimeout, "message-timeout", 0, "how long the implementation waits for the rest of a message")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case (s.server == "") == (s.client == ""):
		return nil, errors.New("one of -server and -client is needed")
	}
	return s, nil
}

func (s *settings) runClient(ctx context.Context, messages io.Writer) ([]conformance.Result, error) {
	host, _, err := net.SplitHostPort(s.client)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); !s.Remote && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is not only on this machine", s.client)
	}
	l, err := net.Listen("tcp", s.client)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(messages, "waiting for a client on ws://%s\n", l.Addr())
	return conformance.RunClient(ctx, l, &s.Options)
}

func writeJSON(name string, results []conformance.Result) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(conformance.WriteJSON(file, results), file.Close())
}
