package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/check"
	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
)

type checkCommand struct {
	URL string `arg:"" optional:"" default:"http://127.0.0.1:8080" help:"The server (default http://127.0.0.1:8080)."`
	tlsFlags

	Header   []string      `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Header field to send with every request; repeatable."`
	Origin   string        `placeholder:"ORIGIN" help:"Origin to pretend, as https://example.com: that of the pages that shall use the server."`
	Timeout  time.Duration `default:"5s" placeholder:"TIME" help:"How long a first signal, and then the events, may take (default 5s)."`
	Topic    string        `placeholder:"TOPIC" help:"Publish small events to this topic, and end it (default: one that is made up)."`
	ReadOnly bool          `xor:"publish" help:"Publish nothing. Then it is not seen whether events come, nor what they take."`
	Need     []string      `placeholder:"TRANSPORT" help:"Fail unless all of these work, over any version of HTTP: websocket, webtransport, sse, stream, longpoll, poll, publish."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// Help is shown by duplex check --help.
func (checkCommand) Help() string {
	return `Tries each transport over each version of HTTP, all at the same time, each on a connection of its own. The time is that to the first signal,
the overhead what a message of 64 bytes takes beyond them, both ways.

Exit codes: 0 clients get through, 1 no transport works or one of --need does not, 3 the server refuses, 4 it is not reached.

Examples:

    duplex check https://events.example.com
    duplex check https://events.example.com --origin https://www.example.com -H 'Authorization: Bearer ...'
    duplex check https://events.example.com --need websocket,sse --json`
}

// Validate refuses flags that make no sense.
func (c *checkCommand) Validate() error {
	for _, need := range c.Need {
		switch client.Transport(need) {
		case client.WebSocket, client.WebTransport, client.SSE, client.Stream, client.Longpoll, client.Poll, check.Publishing:
		default:
			return fmt.Errorf("--need: no transport %q", need)
		}
	}
	if c.Timeout <= 0 {
		return errors.New("--timeout: must be more than 0")
	}
	return nil
}

// A checkError is a check that did not find what it should.
type checkError struct {
	code int
	text string
}

func (e *checkError) Error() string { return e.text }

// Run prints what works.
func (c *checkCommand) Run(ctx context.Context, out *console) error {
	header, err := parseHeader(c.Header)
	if err != nil {
		return err
	}
	if c.Origin != "" {
		header.Set("Origin", c.Origin)
	}
	config, err := c.tls()
	if err != nil {
		return err
	}
	report, err := check.Run(ctx, c.URL, &check.Options{
		Header: header, TLS: config, Timeout: c.Timeout, Topic: c.Topic, ReadOnly: c.ReadOnly,
	})
	if err != nil {
		return usageError(err.Error())
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.JSON {
		_, err = out.out.Write(append(stdio.JSON(report), '\n'))
	} else {
		err = printReport(out.out, report)
	}
	if err != nil {
		return err
	}
	return c.judge(report)
}

// judge gives the exit code.
func (c *checkCommand) judge(report *check.Report) error {
	works := make(map[client.Transport]bool)
	causes := make(map[check.Cause]bool)
	for _, r := range report.Results {
		works[r.Transport] = works[r.Transport] || r.Works
		causes[r.Cause] = true
	}
	switch {
	case report.Best != "":
	case causes[check.Unreached]:
		return &checkError{exitUnreached, ""}
	case causes[check.Unauthorized] || causes[check.Origin] || causes[check.Host]:
		return &checkError{exitRefused, ""}
	default:
		return &checkError{exitFailed, ""}
	}
	for _, need := range c.Need {
		if !works[client.Transport(need)] {
			return &checkError{exitFailed, need + " does not work"}
		}
	}
	return nil
}

// printReport prints a row for each transport and version, the reasons below.
func printReport(w io.Writer, report *check.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TRANSPORT\tHTTP\t\tFIRST SIGNAL\tOVERHEAD\tWHY NOT")
	for i, r := range report.Results {
		// A version that is not there, or does not get through, is one row.
		whole := r.Cause == check.NotOffered || r.Cause == check.UDPBlocked
		if whole && i > 0 && r.Why == report.Results[i-1].Why && r.Version == report.Results[i-1].Version {
			continue
		}
		if whole && i+1 < len(report.Results) && r.Why == report.Results[i+1].Why {
			r.Transport = "all"
		}
		works, first, overhead := "no", "", ""
		switch {
		case r.Works:
			works = "works"
			first = r.FirstSignal.Round(100 * time.Microsecond).String()
			if r.Overhead >= 0 {
				overhead = fmt.Sprintf("%d B", r.Overhead)
			}
		case r.Cause == check.NotOffered:
			works = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Transport, strings.TrimPrefix(r.Version, "HTTP/"), works, first, overhead, stdio.Printable(cmp.Or(r.Why, "")))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", stdio.Printable(report.Advice))
	return err
}
