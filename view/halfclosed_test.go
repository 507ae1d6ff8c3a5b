package view

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// An impatientLog does nothing for a context that is done, as one on a disk.
type impatientLog struct{ topic.Log }

func (l impatientLog) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	if ctx.Err() != nil {
		return topic.ID{}, context.Cause(ctx)
	}
	return l.Log.Append(ctx, name, drafts, key)
}

func (l impatientLog) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	if ctx.Err() != nil {
		return topic.Page{}, context.Cause(ctx)
	}
	return l.Log.Read(ctx, interests, limit)
}

func (l impatientLog) Newest(ctx context.Context, patterns []topic.Pattern, limit topic.Limit) (topic.Page, error) {
	if ctx.Err() != nil {
		return topic.Page{}, context.Cause(ctx)
	}
	return l.Log.Newest(ctx, patterns, limit)
}

// Who has closed his side behind the request gets the answer to it: net/http ends
// the request's context then.
func TestHalfClosedIsAnswered(t *testing.T) {
	log := impatientLog{memlog.Open(nil)}
	h := openOn(t, log, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{"POST", "/topics/a", 201},
		{"GET", "/topics/a", 200},
		{"GET", "/topics/a?after=earliest", 200},
		{"HEAD", "/topics/a", 200},
		{"GET", "/topics/a?after=earliest&wait=5", 200},
		{"DELETE", "/topics/a", 204},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, test.method, test.target, strings.NewReader("x")))
		if w.Code != test.status {
			t.Errorf("%s %s: %d %s", test.method, test.target, w.Code, w.Body)
		}
	}
}
