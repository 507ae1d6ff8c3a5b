//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// A follower reads sse or stream.
type follower struct {
	in     *bufio.Reader
	media  string
	cancel func()
}

func openStream(t testing.TB, url, media string, header ...string) *follower {
	t.Helper()
	return openStreamBy(t, direct, url, media, header...)
}

func openStreamBy(t testing.TB, client *http.Client, url, media string, header ...string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	late := time.AfterFunc(patience, cancel)
	defer late.Stop()
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", media)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	streaming := http.Client{Transport: client.Transport} // the patience is for each event, not for all
	response, err := streaming.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != media {
		t.Fatalf("%s: %s %v", url, response.Status, response.Header)
	}
	f := &follower{bufio.NewReader(response.Body), media, cancel}
	if m, err := f.next(); m.event != "$ping" || err != nil {
		t.Fatalf("%s begins with %v, %v", url, m, err)
	}
	return f
}

// next returns the next event or signal.
func (f *follower) next() (message, error) {
	late := time.AfterFunc(patience, f.cancel)
	defer late.Stop()
	if f.media == "text/event-stream" {
		return readMessage(f.in)
	}
	line, err := f.in.ReadString('\n')
	if err != nil {
		return message{}, err
	}
	var e event
	err = json.Unmarshal([]byte(line), &e)
	return message{e.Event, e.ID, e.text()}, err
}

// event returns the data of the next event.
func (f *follower) event() (string, error) {
	for {
		if m, err := f.next(); err != nil || !m.isSignal() {
			return m.data, err
		}
	}
}
