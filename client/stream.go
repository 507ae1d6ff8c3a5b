package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
)

// follow opens an answer that never ends, of the given media type.
func (s *subscription) follow(ctx context.Context, media string, query url.Values) (*http.Response, error) {
	req, err := s.request(ctx, http.MethodGet, s.url(query), nil)
	if err != nil {
		return nil, final(err)
	}
	req.Header.Set("Accept", media)
	resp, err := s.open(ctx, req, s.idleLimit, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return nil, err
	}
	// "the only thing that stops an EventSource" (PROTOCOL.md §7.5)
	if resp.StatusCode == http.StatusNoContent {
		resp.Body.Close()
		return nil, s.ended()
	}
	if err := wantMedia(resp, media); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// stream reads one JSON event per line (PROTOCOL.md §5.10).
func (s *subscription) stream(ctx context.Context) error {
	resp, err := s.follow(ctx, "application/x-ndjson", url.Values{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, s.opts.MaxMessageBytes)
	lines.Split(wholeLines)
	for lines.Scan() {
		if err := s.receive(lines.Bytes()); err != nil {
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
