package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// follow opens an answer that never ends, of the given media type.
func (r *reading) follow(ctx context.Context, media string, query url.Values) (*http.Response, error) {
	req, err := r.request(ctx, http.MethodGet, r.url(r.after, query), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", media)
	// net/http would ask for gzip, which few can flush.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := r.open(ctx, req, func() time.Duration { return idleLimit(r.interval) }, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return nil, err
	}
	// "the only thing that stops an EventSource" (PROTOCOL.md §7.5)
	if resp.StatusCode == http.StatusNoContent {
		resp.Body.Close()
		return nil, r.ended(ctx)
	}
	if err := wantMedia(resp, media); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// stream reads one JSON event per line (PROTOCOL.md §5.10).
func (r *reading) stream(ctx context.Context) error {
	resp, err := r.follow(ctx, "application/x-ndjson", url.Values{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, r.opts.MaxMessageBytes)
	lines.Split(wholeLines)
	for lines.Scan() {
		if err := r.receive(ctx, lines.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return final(lines.Err())
	}
	if lines.Err() != nil {
		return lines.Err()
	}
	return errEnded
}

// wholeLines leaves out "a line that the connection's end cut off".
func wholeLines(data []byte, _ bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}
