// Package wstalk talks to WebSocket servers, and tests them: what somebody
// types, a script or a recording is sent, and everything that comes is shown
// and, if wanted, recorded.
//
// A session is one connection with the goroutine that reads it. What is done
// over it is a talk, a script or a replay. Each tells the transcript what it
// sends, as the session tells it what comes; the transcript alone writes.
package wstalk

import (
	"context"
	"io"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// Options say what is sent, what is shown and where. Of Reconnect, Script and
// Replay only one may be set.
type Options struct {
	// Dial says how to connect. Its Observe is set by Run.
	Dial websocket.DialOptions

	In     io.Reader // lines to send, each a message or a command (CommandHelp); or the script, if Script is "-"
	Out    io.Writer // messages that come, or, with JSON, everything
	Err    io.Writer // notes
	Person bool      // at In and Err: there is a prompt, and a wrong line does not end it

	Send      []string      // text messages that are sent first, after each connect
	Binary    bool          // lines are binary messages, in hex
	Wait      time.Duration // after the end of In, close when nothing has come for so long
	Timeout   time.Duration // of each thing that a script, a checked replay or /ping waits for
	Reconnect bool          // connect again until the context ends

	Script string  // file of steps (ScriptHelp), "-" for In
	Replay string  // file with a recording, of which what was sent is sent again
	Speed  float64 // of a replay; 1 is as it was recorded
	Check  bool    // a replay fails if it is not answered as in the recording
	Record string  // file to write a recording to

	Frames  bool // show each frame
	Verbose bool // show the header of the response, pings, pongs and closes
	JSON    bool // show everything as lines of JSON
}

// A UsageError says what is wrong with a line, a script or a recording, or with
// the name of its file.
type UsageError string

func (e UsageError) Error() string { return string(e) }

// Run connects to the URL of a WebSocket server and talks until the input, the
// connection or the context ends, or until a step fails. These ends are no
// errors: that of the input or of the steps, a close of the server with 1000,
// 1001 or no code, and that of the context if lines are sent, not steps.
//
// This side says goodbye when it ends: what comes before the server has
// answered, for at most Dial.CloseTimeout (5 s if it is 0), is shown too.
func Run(ctx context.Context, url string, opts *Options) error {
	play, err := opts.play()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log := &transcript{out: opts.Out, notes: opts.Err, began: time.Now(), json: opts.JSON, frames: opts.Frames, verbose: opts.Verbose, failed: cancel}
	if opts.Record != "" {
		file, err := createRecording(opts.Record)
		if err != nil {
			return err
		}
		defer file.Close() // every write was checked
		log.record = file
	}
	d := &dialler{target: url, opts: opts.Dial, first: opts.Send, log: log}
	d.opts.Observe = log.frame
	if play != nil {
		err = d.play(ctx, play)
	} else {
		err = talkOver(ctx, d, opts)
	}
	if failure := log.failure(); failure != nil {
		return failure
	}
	return log.ended(err)
}

// play gives what is done over a connection in place of a talk, or nil.
func (o *Options) play() (func(context.Context, *session) error, error) {
	switch {
	case o.Script != "":
		script, err := readScript(o.Script, o.In)
		return func(ctx context.Context, s *session) error { return script.run(ctx, s, o.Timeout) }, err
	case o.Replay != "":
		recording, err := readRecording(o.Replay)
		return func(ctx context.Context, s *session) error { return replayOver(ctx, s, recording, o) }, err
	}
	return nil, nil
}
