package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
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

` + commandHelp + `
A script has a step on each line, and ends with exit code 1 at the first that fails:

` + scriptHelp + `
What a regular expression of expect has captured is $1 or ${name} in later steps; $$ is $.

Examples:

    duplex ws 127.0.0.1:8080/topics/room
    duplex ws 127.0.0.1:8080/topics --subprotocol duplex.v1 --frames
    echo hello | duplex ws wss://echo.example.com --wait 3s
    duplex ws wss://feed.example.com -H 'Authorization: Bearer ...' --send '{"op":"login"}' --reconnect --json
    duplex ws wss://user:secret@localhost:8443 --ca ca.pem --proxy socks5://127.0.0.1:1080
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
	}
	return nil
}

// Run talks until the input, the connection or the context ends.
func (c *wsCommand) Run(ctx context.Context, out *console) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	opts, err := c.options(out)
	if err != nil {
		return err
	}
	var play func(context.Context, *session) error
	switch {
	case c.Script != "":
		script, err := readScript(c.Script, out.in)
		if err != nil {
			return err
		}
		play = func(ctx context.Context, s *session) error { return script.run(ctx, s, c.Timeout) }
	case c.Replay != "":
		r, err := readRecording(c.Replay)
		if err != nil {
			return err
		}
		play = func(ctx context.Context, s *session) error { return c.replay(ctx, s, r) }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log := &transcript{out: out, began: time.Now(), json: c.JSON, frames: c.Frames, verbose: c.Verbose, failed: cancel}
	if c.Record != "" {
		file, err := createRecording(c.Record)
		if err != nil {
			return err
		}
		defer file.Close() // every write was checked
		log.record = file
	}
	opts.Observe = log.frame
	d := &dialler{target: target, opts: opts, first: c.Send, log: log}

	if play != nil {
		err = d.play(ctx, play)
	} else {
		err = c.talk(ctx, d, out)
	}
	if failure := log.failure(); failure != nil {
		return failure
	}
	return log.ended(err)
}

// target is the URL to dial.
func (c *wsCommand) target() (string, error) {
	target := c.URL
	if !strings.Contains(target, "://") {
		target = "ws://" + target
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
	case strings.Contains(target, "#"):
		return "", usageError("URL: has a fragment") // RFC 6455 §3
	}
	return target, nil
}
