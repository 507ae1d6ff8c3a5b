package wstalk

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// A replay sends again what a recording says, and looks at the answers.
type replay struct {
	*Options
	*session
	*recording
	answers []recorded // what has not come yet
	began   time.Time
}

// errEnded says that a connection was closed as it was recorded.
var errEnded = errors.New("ended as recorded")

// replayOver ends with the last answer that is recorded or, if they are not
// checked, when nothing has come for a while.
func replayOver(ctx context.Context, s *session, recording *recording, opts *Options) error {
	r := &replay{Options: opts, session: s, recording: recording, began: time.Now()}
	for _, e := range recording.events {
		if !e.sent {
			r.answers = append(r.answers, e)
		}
	}
	err := r.run(ctx)
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

func (r *replay) run(ctx context.Context) error {
	last := time.Duration(0)
	for _, e := range r.events {
		last = e.at
		if !e.sent {
			continue
		}
		if err := r.listen(ctx, e.at); err != nil {
			return err
		}
		if e.closing != nil {
			if err := r.listenForRest(ctx); err != nil {
				return err
			}
			return r.close(e.closing.Code, e.closing.Reason)
		}
		if err := r.send(ctx, e.message.kind, e.message.data); err != nil {
			return err
		}
	}
	if r.Check {
		return r.listenForRest(ctx)
	}
	if err := r.listen(ctx, last); err != nil {
		return err
	}
	for {
		if _, err := r.within(ctx, r.Wait); errors.Is(err, errNothingCame) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// listen takes what comes until a time of the recording.
func (r *replay) listen(ctx context.Context, at time.Duration) error {
	until := r.began.Add(time.Duration(float64(at) / r.Speed))
	for {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		m, err := r.within(ctx, left)
		if errors.Is(err, errNothingCame) {
			return nil
		}
		if err := r.answered(ctx, m, err); err != nil {
			return err
		}
	}
}

// listenForRest waits for the answers that are still to come, if they are to
// be checked.
func (r *replay) listenForRest(ctx context.Context) error {
	for r.Check && len(r.answers) > 0 {
		m, err := r.within(ctx, r.Timeout)
		if err := r.answered(ctx, m, err); err != nil {
			return err
		}
	}
	return nil
}

// answered looks at an answer, or at why there is none.
func (r *replay) answered(ctx context.Context, m message, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !r.Check:
		return err
	}
	got := recorded{message: m}
	f := &failure{File: r.file, Expected: "nothing more"}
	if e, ok := errors.AsType[*websocket.CloseError](err); ok && e.Remote {
		got.closing = &entry{Code: e.Code, Reason: e.Reason}
		f.Got = got.described()
	} else if err != nil {
		f.Got = describedEnd(err, r.Timeout)
	} else {
		f.Got = m.described()
	}
	if len(r.answers) == 0 {
		if len(r.events) > 0 {
			f.Line = r.events[len(r.events)-1].line
		}
		return r.log.fail(f)
	}
	want := r.answers[0]
	if !want.same(&got) {
		f.Line, f.Expected = want.line, want.described()
		return r.log.fail(f)
	}
	r.answers = r.answers[1:]
	if got.closing != nil {
		return errEnded
	}
	return nil
}

func (r *recorded) same(other *recorded) bool {
	if r.closing != nil || other.closing != nil {
		return r.closing != nil && other.closing != nil &&
			r.closing.Code == other.closing.Code && r.closing.Reason == other.closing.Reason
	}
	return r.message.kind == other.message.kind && bytes.Equal(r.message.data, other.message.data)
}
