package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

type wsCommand struct {
	URL         string        `arg:"" help:"ws://..., wss://..., or HOST/PATH."`
	Header      []string      `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Header field of the handshake; repeatable."`
	Subprotocol []string      `placeholder:"NAME" help:"Subprotocol to offer; repeatable."`
	Origin      string        `placeholder:"ORIGIN" help:"Origin to pretend, as https://example.com."`
	Frames      bool          `help:"Show each frame on standard error."`
	Wait        time.Duration `default:"1s" placeholder:"TIME" help:"After the end of the input, close when nothing has come for so long (default 1s)."`
}

// Help is shown by duplex ws --help.
func (wsCommand) Help() string {
	return `Sends each line of standard input as a text message, and prints the messages that come.

Examples:

    duplex ws 127.0.0.1:8080/topics/room
    duplex ws 127.0.0.1:8080/topics --subprotocol duplex.v1 --frames
    echo hello | duplex ws wss://echo.example.com --wait 3s`
}

// Run talks until the input, the connection or the context ends.
func (c *wsCommand) Run(ctx context.Context, out *console) error {
	conn, err := c.dial(ctx, out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	incoming := make(chan message)
	var reading sync.WaitGroup
	// Ends with the context. Joined below.
	reading.Go(func() { receive(ctx, conn, incoming) })

	err = c.talk(ctx, conn, out, incoming)
	cancel()
	_ = conn.Close(websocket.CloseNormal, "") // says goodbye, if there is still somebody
	reading.Wait()
	return closeError(err)
}

// closeError is nil for the ends that are in order.
func closeError(err error) error {
	e, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return err
	}
	switch e.Code {
	case websocket.CloseNormal, websocket.CloseGoingAway, websocket.CloseNoStatus:
		return nil
	}
	return err
}

func (c *wsCommand) dial(ctx context.Context, out *console) (*websocket.Conn, error) {
	header, err := parseHeader(c.Header)
	if err != nil {
		return nil, err
	}
	if c.Origin != "" {
		header.Set("Origin", c.Origin)
	}
	if !strings.Contains(c.URL, "://") {
		c.URL = "ws://" + c.URL
	}
	opts := &websocket.DialOptions{
		Options:      websocket.Options{ReadLimit: -1},
		Header:       header,
		Subprotocols: c.Subprotocol,
	}
	if c.Frames {
		opts.Observe = out.showFrame
	}
	conn, _, err := websocket.Dial(ctx, c.URL, opts)
	if err != nil {
		return nil, err
	}
	if name := conn.Subprotocol(); name != "" {
		out.note("connected, subprotocol %s", name)
	} else {
		out.note("connected")
	}
	return conn, nil
}

// A message came, or none will come any more.
type message struct {
	kind websocket.MessageType
	data []byte
	err  error
}

func receive(ctx context.Context, conn *websocket.Conn, incoming chan<- message) {
	for {
		var m message
		m.kind, m.data, m.err = conn.Read(ctx)
		select {
		case incoming <- m:
		case <-ctx.Done():
			return
		}
		if m.err != nil {
			return
		}
	}
}

// talk sends the lines of the input and prints the messages. After the end of
// the input it waits until nothing has come for a while.
func (c *wsCommand) talk(ctx context.Context, conn *websocket.Conn, out *console, incoming <-chan message) error {
	lines := make(chan string)
	// Ends with the input. Not joined: nothing can interrupt a read of
	// standard input.
	go readLines(ctx, out.in, lines)

	quiet := time.NewTimer(c.Wait)
	defer quiet.Stop()
	for {
		select {
		case line, ok := <-lines:
			quiet.Reset(c.Wait)
			if !ok {
				lines = nil // never ready
				continue
			}
			if err := conn.Write(ctx, websocket.Text, []byte(line)); err != nil {
				return err
			}
		case m := <-incoming:
			quiet.Reset(c.Wait)
			if m.err != nil {
				return m.err
			}
			if _, err := fmt.Fprintln(out.out, m.text()); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		case <-quiet.C:
			if lines == nil {
				return nil
			}
		case <-ctx.Done():
			return nil // the way for a person to end it
		}
	}
}

func readLines(ctx context.Context, in io.Reader, lines chan<- string) {
	defer close(lines)
	input := bufio.NewScanner(in)
	input.Buffer(nil, maxLine)
	for input.Scan() {
		select {
		case lines <- input.Text():
		case <-ctx.Done():
			return
		}
	}
}

// text is what a person is shown.
func (m *message) text() string {
	if m.kind == websocket.Text {
		return printable(string(m.data))
	}
	const most = 64
	text := fmt.Sprintf("(%d bytes) % x", len(m.data), m.data[:min(len(m.data), most)])
	if len(m.data) > most {
		text += " ..."
	}
	return text
}

// showFrame prints what a frame is. It is called from the goroutines of both
// directions, so it writes once.
func (c *console) showFrame(e websocket.FrameEvent) {
	arrow := "<-"
	if e.Sent {
		arrow = "->"
	}
	line := fmt.Appendf(nil, "%s %s", e.Time.Format("15:04:05.000"), arrow)
	for _, bit := range []struct {
		set  bool
		name string
	}{
		{e.Fin, " FIN"}, {e.RSV&wire.RSV1 != 0, " RSV1"}, {e.RSV&wire.RSV2 != 0, " RSV2"}, {e.RSV&wire.RSV3 != 0, " RSV3"},
	} {
		if bit.set {
			line = append(line, bit.name...)
		}
	}
	line = fmt.Appendf(line, " %v", e.Opcode)
	if e.Masked {
		line = append(line, " masked"...)
	}
	line = fmt.Appendf(line, " %d bytes", e.Length)
	switch code, reason, err := wire.ParseClose(e.Payload); {
	case e.Opcode == wire.Close && err == nil && code != wire.CloseNoStatus:
		line = fmt.Appendf(line, ": %d %q", code, reason)
	case e.Opcode != wire.Close && len(e.Payload) > 0:
		line = fmt.Appendf(line, ": %q", e.Payload)
	}
	_, _ = c.err.Write(append(line, '\n')) // nobody to tell
}
