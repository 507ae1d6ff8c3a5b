package wstalk

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A verb is the first word of a script's step. Its argument is all that
// follows.
type verb struct {
	quote func(string) string // of captured text in the argument
	parse func(arg string) (act, error)
}

type act func(context.Context, *scriptRun) error

var verbs = map[string]verb{
	"send":          {asIs, parseSend},
	"send-json":     {asJSON, parseSendJSON},
	"send-binary":   {asIs, parseSendBinary},
	"ping":          {asIs, parsePing},
	"close":         {asIs, parseClose},
	"expect":        {regexp.QuoteMeta, parseExpect},
	"expect-json":   {asJSON, parseExpectJSON},
	"expect-binary": {asIs, parseExpectBinary},
	"expect-close":  {regexp.QuoteMeta, parseExpectClose},
	"expect-none":   {asIs, parseExpectNone},
	"wait":          {asIs, parseWait},
}

func parseSend(arg string) (act, error) {
	return func(ctx context.Context, r *scriptRun) error {
		return r.send(ctx, websocket.Text, []byte(arg))
	}, nil
}

func parseSendJSON(arg string) (act, error) {
	if _, err := decodeJSON([]byte(arg)); err != nil {
		return nil, err
	}
	return parseSend(arg)
}

func parseSendBinary(arg string) (act, error) {
	data, err := parseHex(arg)
	return func(ctx context.Context, r *scriptRun) error {
		return r.send(ctx, websocket.Binary, data)
	}, err
}

func parsePing(arg string) (act, error) {
	if strings.TrimSpace(arg) != "" {
		return nil, errors.New("takes nothing")
	}
	return func(ctx context.Context, r *scriptRun) error {
		_, err := r.ping(ctx, r.limit)
		return err
	}, nil
}

func parseClose(arg string) (act, error) {
	code, reason, err := parseCloseArgs(arg)
	return func(_ context.Context, r *scriptRun) error { return r.close(code, reason) }, err
}

func parseExpect(arg string) (act, error) {
	re, err := regexp.Compile(arg)
	if err != nil {
		return nil, err
	}
	want := "text /" + arg + "/"
	return func(ctx context.Context, r *scriptRun) error {
		m, err := r.expect(ctx, want)
		if err != nil {
			return err
		}
		groups := re.FindStringSubmatch(string(m.data))
		if m.kind != websocket.Text || groups == nil {
			return &mismatch{want, m.described()}
		}
		r.captured.match(re, groups)
		return nil
	}, nil
}

func parseExpectJSON(arg string) (act, error) {
	want, err := decodeJSON([]byte(arg))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *scriptRun) error {
		m, err := r.expect(ctx, arg)
		if err != nil {
			return err
		}
		got, err := decodeJSON(m.data)
		if err != nil {
			return &mismatch{"JSON", m.described()}
		}
		if path, ok := subset(want, got); !ok {
			return &mismatch{arg, m.described() + ", which differs at " + path}
		}
		return nil
	}, nil
}

func parseExpectBinary(arg string) (act, error) {
	data, err := parseHex(arg)
	want := &message{kind: websocket.Binary, data: data}
	return func(ctx context.Context, r *scriptRun) error {
		m, err := r.expect(ctx, want.described())
		if err == nil && (m.kind != want.kind || !bytes.Equal(m.data, want.data)) {
			err = &mismatch{want.described(), m.described()}
		}
		return err
	}, err
}

func parseExpectClose(arg string) (act, error) {
	codeText, reason, _ := strings.Cut(strings.TrimSpace(arg), " ")
	code, err := strconv.ParseUint(codeText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("want a close code, not %q", codeText)
	}
	re, err := regexp.Compile(reason)
	if err != nil {
		return nil, err
	}
	want := fmt.Sprintf("close %d", code)
	if reason != "" {
		want += " /" + reason + "/"
	}
	return func(ctx context.Context, r *scriptRun) error {
		m, err := r.within(ctx, r.limit)
		if err == nil {
			return &mismatch{want, m.described()}
		}
		// Also when this side began it.
		got := r.log.peerClose()
		if got == nil {
			return &mismatch{want, describedEnd(err, r.limit)}
		}
		if uint64(got.Code) != code || !re.MatchString(got.Reason) {
			return &mismatch{want, describedClose(got.Code, got.Reason)}
		}
		return nil
	}, nil
}

func parseExpectNone(arg string) (act, error) {
	d, err := parseTime(arg)
	want := "nothing for " + d.String()
	return func(ctx context.Context, r *scriptRun) error {
		m, err := r.within(ctx, d)
		switch {
		case err == nil:
			return &mismatch{want, m.described()}
		case errors.Is(err, errNothingCame):
			return nil
		}
		return &mismatch{want, describedEnd(err, d)}
	}, err
}

func parseWait(arg string) (act, error) {
	d, err := parseTime(arg)
	return func(ctx context.Context, _ *scriptRun) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, err
}

// expect waits for a message.
func (r *scriptRun) expect(ctx context.Context, want string) (message, error) {
	m, err := r.within(ctx, r.limit)
	if err != nil {
		err = &mismatch{want, describedEnd(err, r.limit)}
	}
	return m, err
}

// parseCloseArgs reads CODE and REASON, both of which may be missing.
func parseCloseArgs(text string) (code websocket.CloseCode, reason string, err error) {
	codeText, reason, _ := strings.Cut(strings.TrimSpace(text), " ")
	code = websocket.CloseNormal
	if codeText != "" {
		n, err := strconv.ParseUint(codeText, 10, 16)
		if err != nil {
			return 0, "", fmt.Errorf("want a close code, not %q", codeText)
		}
		code = websocket.CloseCode(n)
	}
	_, err = wire.AppendClose(nil, code, reason)
	if err != nil {
		err = errors.New(strings.TrimPrefix(err.Error(), "websocket: "))
	}
	return code, reason, err
}

// parseHex reads bytes, with or without spaces between them.
func parseHex(text string) ([]byte, error) {
	data, err := hex.DecodeString(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text))
	if err != nil {
		return nil, errors.New("want bytes in hex, such as 01 ff")
	}
	return data, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("want a time such as 500ms, not %q", text)
	}
	return d, nil
}
