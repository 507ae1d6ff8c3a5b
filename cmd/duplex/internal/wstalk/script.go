package wstalk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// ScriptHelp describes the steps of a script.
const ScriptHelp = `    send TEXT                          send a text message
    send-json JSON                     the same, if it is JSON
    send-binary HEX                    send a binary message
    ping                               send a ping and wait for its pong
    close [CODE [REASON]]              close the connection, and wait for the answer
    expect REGEX                       the next message is a text that matches
    expect-json JSON                   the next message is JSON and has at least these members
    expect-binary HEX                  the next message is binary, and this
    expect-close CODE [REASON-REGEX]   the server closes with this code
    expect-none TIME                   nothing comes for so long
    wait TIME                          do nothing
    # ...                              a comment
`

// A script is a list of steps for one connection.
type script struct {
	file  string
	lines []scriptLine
}

type scriptLine struct {
	number    int
	verb, arg string
}

// readScript reads and checks a script. "-" is standard input.
func readScript(file string, in io.Reader) (*script, error) {
	var text []byte
	var err error
	if file == "-" {
		file = "(standard input)"
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, UsageError("--script: " + err.Error())
	}
	s := &script{file: file}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		verb, arg, _ := strings.Cut(strings.TrimLeft(strings.TrimRight(string(line), "\r\n"), " \t"), " ")
		if verb = strings.TrimSpace(verb); verb == "" || strings.HasPrefix(verb, "#") {
			continue
		}
		l := scriptLine{number, verb, arg}
		if err := l.check(); err != nil {
			return nil, UsageError(fmt.Sprintf("%s:%d: %s: %v", file, number, verb, err))
		}
		s.lines = append(s.lines, l)
	}
	return s, nil
}

// check finds what is wrong before anything was sent. What depends on captured
// text has to wait.
func (l *scriptLine) check() error {
	verb, ok := verbs[l.verb]
	if !ok {
		return errors.New("no such step; see duplex ws --help")
	}
	if usesCaptured(l.arg) {
		return nil
	}
	arg, err := captured{}.expand(l.arg, verb.quote)
	if err == nil {
		_, err = verb.parse(arg)
	}
	return err
}

// A scriptRun is a script on its way.
type scriptRun struct {
	*session
	limit    time.Duration // for each thing waited for
	captured captured
}

// run takes the steps until the first that fails.
func (s *script) run(ctx context.Context, conn *session, limit time.Duration) error {
	r := &scriptRun{session: conn, limit: limit, captured: make(captured)}
	for _, l := range s.lines {
		err := r.step(ctx, &l)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		f := &failure{File: s.file, Line: l.number, Step: l.verb, Got: err.Error()}
		if m, ok := errors.AsType[*mismatch](err); ok {
			f.Expected, f.Got = m.expected, m.got
		}
		return r.log.fail(f)
	}
	return nil
}

func (r *scriptRun) step(ctx context.Context, l *scriptLine) error {
	verb := verbs[l.verb]
	arg, err := r.captured.expand(l.arg, verb.quote)
	if err != nil {
		return err
	}
	act, err := verb.parse(arg)
	if err != nil {
		return err
	}
	return act(ctx, r)
}
