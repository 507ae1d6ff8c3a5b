// Command client lets an outside tool judge websocket.Dial: it runs the cases
// of a fuzzing server, in the manner of the Autobahn test suite, and echoes
// whatever it is sent.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// judge is a fuzzing server.
type judge struct {
	url      string
	agent    string
	limit    time.Duration // for each case
	progress io.Writer
}

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		log.Fatal("client: ", err)
	}
}

func run(ctx context.Context, args []string, progress io.Writer) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.SetOutput(progress)
	j := judge{progress: progress}
	flags.StringVar(&j.url, "url", "ws://127.0.0.1:9001", "fuzzing server")
	flags.StringVar(&j.agent, "agent", "duplex", "name in the server's report")
	flags.DurationVar(&j.limit, "limit", 2*time.Minute, "time for each case")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	j.url = strings.TrimSuffix(j.url, "/")
	return j.run(ctx)
}

// run runs all cases. How a case ends is for the server to judge.
func (j *judge) run(ctx context.Context) error {
	count, err := j.caseCount(ctx)
	if err != nil {
		return fmt.Errorf("case count: %w", err)
	}
	for number := 1; number <= count; number++ {
		messages, err := j.runCase(ctx, number)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fmt.Fprintf(j.progress, "case %d of %d: %d messages, then: %v\n", number, count, messages, err)
	}
	c, err := j.dial(ctx, "/updateReports", url.Values{"agent": {j.agent}})
	if err != nil {
		return fmt.Errorf("update reports: %w", err)
	}
	defer c.CloseNow()
	echo(ctx, c) // until the reports are written
	return nil
}

func (j *judge) caseCount(ctx context.Context) (int, error) {
	c, err := j.dial(ctx, "/getCaseCount", nil)
	if err != nil {
		return 0, err
	}
	defer c.CloseNow()
	_, text, err := c.Read(ctx)
	if err != nil {
		return 0, err
	}
	echo(ctx, c) // nothing: this answers the server's close
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// runCase echoes until the connection ends, and says how it did. A handshake
// that failed is an end like any other.
func (j *judge) runCase(ctx context.Context, number int) (messages int, err error) {
	ctx, cancel := context.WithTimeout(ctx, j.limit)
	defer cancel()
	c, err := j.dial(ctx, "/runCase", url.Values{"case": {strconv.Itoa(number)}, "agent": {j.agent}})
	if err != nil {
		return 0, err
	}
	defer c.CloseNow()
	return echo(ctx, c)
}

func (j *judge) dial(ctx context.Context, path string, query url.Values) (*websocket.Conn, error) {
	address := j.url + path
	if query != nil {
		address += "?" + query.Encode()
	}
	c, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		Options: websocket.Options{ReadLimit: 64 << 20}, // cases go up to 16 MiB
	})
	return c, err
}

func echo(ctx context.Context, c *websocket.Conn) (messages int, err error) {
	for {
		messageType, message, err := c.Read(ctx)
		if err == nil {
			err = c.Write(ctx, messageType, message)
		}
		if err != nil {
			return messages, err
		}
		messages++
	}
}
