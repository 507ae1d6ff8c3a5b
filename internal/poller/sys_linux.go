package poller

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// None of these calls can block, so they are made without telling the runtime:
// syscall.RawSyscall keeps the P, and saves the two hand-overs that
// syscall.Syscall makes. They are repeated when a signal interrupts them.

// Receive reads what has arrived at a socket. Zero is the end. Receive and Send
// are exported for those who wait for a socket in their own way.
func Receive(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// maxVector is how many pieces one system call sends.
const maxVector = 64

// Send gives the kernel first and then the chunks. EAGAIN means that it did not
// take all of them.
func Send(fd int, first []byte, chunks [][]byte) (taken int, errno syscall.Errno) {
	if len(first) == 0 && len(chunks) > 0 {
		first, chunks = chunks[0], chunks[1:]
	}
	if len(chunks) > 0 {
		return sendVector(fd, first, chunks)
	}
	for len(first) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(first))), uintptr(len(first)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, errno
		case int(n) < len(first):
			return int(n), unix.EAGAIN
		}
		return int(n), 0
	}
	return 0, 0
}

// sendVector is apart because of the room that it needs on the stack.
func sendVector(fd int, first []byte, chunks [][]byte) (taken int, errno syscall.Errno) {
	for len(first) > 0 || len(chunks) > 0 {
		var vector [maxVector]unix.Iovec
		count, size := 0, 0
		add := func(p []byte) {
			if len(p) > 0 {
				vector[count].Base = unsafe.SliceData(p)
				vector[count].SetLen(len(p))
				count++
				size += len(p)
			}
		}
		add(first)
		first = nil
		for len(chunks) > 0 && count < maxVector {
			add(chunks[0])
			chunks = chunks[1:]
		}
		if count == 0 {
			break
		}
		n, errno := sendMessage(fd, vector[:count])
		if errno != 0 {
			return taken, errno
		}
		taken += n
		if n < size {
			return taken, unix.EAGAIN
		}
	}
	return taken, 0
}

func sendMessage(fd int, vector []unix.Iovec) (int, syscall.Errno) {
	message := unix.Msghdr{Iov: unsafe.SliceData(vector)}
	message.SetIovlen(len(vector))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// poll takes the events that there are.
func poll(epfd int, events []unix.EpollEvent) int {
	for {
		// epoll_pwait: not every architecture has epoll_wait.
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)),
			0, 0, 0)
		if errno == 0 {
			return int(n)
		}
		if errno != unix.EINTR {
			panic("poller: epoll_wait: " + errno.Error()) // the descriptor was closed by someone else
		}
	}
}

// rouse adds one to an eventfd.
func rouse(eventfd int) {
	one := uint64(1)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(eventfd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// reset makes the next close of fd an RST that forgets what is unsent.
func reset(fd int) {
	// It fails only on a descriptor that is no socket.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// acknowledged asks for what Conn.Acknowledged tells. It allocates nothing, as
// it is asked often.
func acknowledged(fd int) (unacked uint32, last time.Duration, errno unix.Errno) {
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info.Unacked, time.Duration(info.Last_ack_recv) * time.Millisecond, errno
}
