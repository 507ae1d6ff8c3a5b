//go:build !unix

package stdio

import (
	"context"
	"io"
)

// AwaitUnread reports false: a write tells when nobody reads the output any more.
func AwaitUnread(context.Context, io.Writer) bool { return false }
