//go:build unix

package stdio

import (
	"context"
	"io"
	"os"
	"testing"
	"time"
)

func TestAwaitUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*unreadEvery)
	defer cancel()
	if AwaitUnread(ctx, w) || AwaitUnread(t.Context(), io.Discard) {
		t.Error("unread, while somebody reads it")
	}
	r.Close()
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !AwaitUnread(ctx, w) {
		t.Error("nobody reads it, and nothing told so")
	}
}
