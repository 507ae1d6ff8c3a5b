//go:build linux

package load

import (
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// The calls here never block, except for poller.wait, so they are made without
// telling the scheduler, which is cheaper.

type poller struct {
	fd     int
	events [512]syscall.EpollEvent
}

// scarceBytes is what a reader that will stop reading has the kernel keep for
// it: what does not fit is the server's to hold.
const scarceBytes = 4096

const (
	readable = syscall.EPOLLIN
	writable = syscall.EPOLLOUT
)

func (p *poller) open() (err error) {
	p.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return os.NewSyscallError("epoll_create1", err)
}

func (p *poller) add(fd int, id int32, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: id}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &event))
}

func (p *poller) change(fd int, id int32, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: id}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_MOD, fd, &event))
}

func (p *poller) remove(fd int) error {
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_DEL, fd, nil))
}

// wait gives what is ready, after timeout at the latest.
func (p *poller) wait(timeout time.Duration) ([]syscall.EpollEvent, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	if n == 0 && errno == 0 && timeout > 0 {
		const epollPwait2 = 441 // takes nanoseconds, where its older brothers take milliseconds
		limit := syscall.NsecToTimespec(int64(timeout))
		n, _, errno = syscall.Syscall6(epollPwait2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), uintptr(unsafe.Pointer(&limit)), 0, 0)
	}
	switch errno {
	case 0:
		return p.events[:n], nil
	case syscall.EINTR:
		return nil, nil
	}
	return nil, os.NewSyscallError("epoll_pwait2", errno)
}

// exactTimers makes the calling thread wake when it asked to: by default the
// kernel may be 50 µs late.
func exactTimers() {
	const slackNanoseconds = 1
	syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_TIMERSLACK, slackNanoseconds, 0)
}

// dial begins a connection. It is there, or has failed, when the socket is
// writable. The number is that of the connection; with scarce it can receive
// only few bytes that are not read.
func dial(address netip.AddrPort, number int, scarce bool) (fd int, err error) {
	family := syscall.AF_INET6
	var to syscall.Sockaddr = &syscall.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
	if address.Addr().Is4() {
		family = syscall.AF_INET
		to = &syscall.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
	}
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Closing resets the connection: nothing stays behind that would take up
	// ports for the next run.
	err = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err == nil && scarce {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, scarceBytes)
	}
	if err == nil && address.Addr().Is4() && address.Addr().IsLoopback() {
		err = bindLoopback(fd, number)
	}
	if err == nil {
		err = syscall.Connect(fd, to)
	}
	if err != nil && err != syscall.EINPROGRESS {
		syscall.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// bindLoopback gives every few thousand connections a source address of their
// own: with one for all the kernel would search ever longer for a free port,
// and find no more than 28,000.
func bindLoopback(fd, number int) error {
	const (
		perSource         = 8000
		bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT: connect chooses the port
	)
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1); err != nil {
		return err
	}
	source := number / perSource // at most 131: see maxConnections
	return syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + source)}})
}

func dialError(fd int) error {
	errno, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && errno != 0 {
		err = syscall.Errno(errno)
	}
	return os.NewSyscallError("connect", err)
}

// read gives -1 if there is nothing, and 0 at the end.
func read(fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return -1, nil
		case syscall.EINTR:
			continue
		}
		return 0, os.NewSyscallError("read", errno)
	}
}

// write gives how much of b was taken, which may be nothing.
func write(fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return 0, nil
		case syscall.EINTR:
			continue
		}
		return 0, os.NewSyscallError("sendto", errno)
	}
}
