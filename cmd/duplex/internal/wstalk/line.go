package wstalk

import (
	"context"
	"errors"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// CommandHelp describes the commands that a line can be.
const CommandHelp = `    /ping [PAYLOAD]          send a ping; without a payload, show how long its pong took
    /pong [PAYLOAD]          send a pong that no ping asked for
    /binary HEX              send a binary message
    /file PATH               send a file, as text if it is UTF-8
    /close [CODE [REASON]]   close the connection, and end
    /help                    show these
`

// errGoodbye is what /close leads to.
var errGoodbye = errors.New("goodbye")

// obey does what a line of the input says. A UsageError says what is wrong with
// the line, and nothing was sent.
func (t *talk) obey(ctx context.Context, s *session, line string) error {
	if strings.HasPrefix(line, "/") && !strings.HasPrefix(line, "//") {
		name, arg, _ := strings.Cut(line, " ")
		return t.command(ctx, s, name, arg)
	}
	if strings.HasPrefix(line, "//") {
		line = line[1:]
	}
	if t.Binary {
		return sendHex(ctx, s, line)
	}
	err := s.send(ctx, websocket.Text, []byte(line))
	if errors.Is(err, websocket.ErrText) {
		return UsageError("the line is not UTF-8")
	}
	return err
}

func sendHex(ctx context.Context, s *session, text string) error {
	data, err := parseHex(text)
	if err != nil {
		return UsageError(err.Error())
	}
	return s.send(ctx, websocket.Binary, data)
}

func (t *talk) command(ctx context.Context, s *session, name, arg string) error {
	switch name {
	case "/ping", "/pong":
		if len(arg) > wire.MaxControlPayload {
			return UsageError(name + ": more than 125 bytes")
		}
		if name == "/pong" {
			return s.conn.WritePong(ctx, []byte(arg))
		}
		if arg != "" {
			return s.conn.WritePing(ctx, []byte(arg))
		}
		// Ends with the pong, the time limit or the connection. Joined by end.
		s.running.Go(func() {
			if latency, err := s.ping(ctx, t.Timeout); err == nil {
				t.log.note("pong after %v", latency)
			} else if ctx.Err() == nil {
				t.log.note("/ping: %v", err)
			}
		})
		return nil
	case "/binary":
		return sendHex(ctx, s, arg)
	case "/file":
		data, err := os.ReadFile(arg)
		if err != nil {
			return UsageError("/file: " + err.Error())
		}
		if utf8.Valid(data) {
			return s.send(ctx, websocket.Text, data)
		}
		return s.send(ctx, websocket.Binary, data)
	case "/close":
		code, reason, err := parseCloseArgs(arg)
		if err != nil {
			return UsageError("/close: " + err.Error())
		}
		_ = s.close(code, reason) // who does not answer is told nothing more
		return errGoodbye
	case "/help":
		t.log.note("commands, on lines of their own:\n%s// sends a line that begins with /", CommandHelp)
		return nil
	}
	return UsageError("no command is called " + stdio.Printable(name) + ": /help lists them, and // sends a line that begins with /")
}
