package poller

import (
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Yield lets other goroutines run, also those that wait for the network: the
// runtime looks for them only when it has nothing else to run, or has not looked
// for 10 ms. runtime.Gosched lets only those run that know already that they can.
//
// It is for who works for milliseconds. By itself it takes about 2 µs.
func Yield() {
	y := yielders.Get().(*yielder)
	y.wait()
	yielders.Put(y)
	runtime.Gosched() // those who were found beside it have not run yet
}

// A yielder waits for an eventfd in the runtime's network poller, behind all
// others who wait there.
type yielder struct {
	file   *os.File // closed with the last reference
	raw    syscall.RawConn
	waited bool
	ready  func(fd uintptr) bool
}

var yielders = sync.Pool{New: func() any { return newYielder() }}

func newYielder() *yielder {
	y := new(yielder)
	y.ready = y.isReady
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return y
	}
	y.file = os.NewFile(uintptr(fd), "eventfd")
	y.raw, _ = y.file.SyscallConn() // it is open
	return y
}

// wait returns when the runtime has looked at the network.
func (y *yielder) wait() {
	y.waited = false
	if y.raw != nil {
		_ = y.raw.Read(y.ready) // if the runtime cannot wait for it, there is no other way
	}
}

// isReady has the runtime wait, and find the eventfd readable when it looks.
// Each write is an edge, so nobody has to read it.
func (y *yielder) isReady(fd uintptr) bool {
	if y.waited {
		return true
	}
	y.waited = true
	rouse(int(fd))
	return false
}
