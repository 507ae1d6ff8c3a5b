//go:build unix

package stdio

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// unreadEvery is how often an output is looked at.
const unreadEvery = 500 * time.Millisecond

// AwaitUnread waits until the output is a pipe or socket that nobody reads any
// more, and reports true, or until ctx is done. A write would tell, but there may
// be nothing to write for long.
func AwaitUnread(ctx context.Context, out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	ticker := time.NewTicker(unreadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		unread := false
		err := raw.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP need not be asked for
			n, err := unix.Poll(fds, 0)
			unread = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		})
		if unread || err != nil {
			return unread
		}
	}
}
