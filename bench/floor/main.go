//go:build linux

// Command floor is what no server can go below: one epoll loop with raw system
// calls. It sends all bytes back, or to all connections, and knows no protocol;
// as a hub, it knows what it takes to be driven like one of events.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"syscall"
	"unsafe"
)

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:], os.Stdout); err != nil {
		log.Fatal("floor: ", err)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	work := flags.String("work", "echo", "echo, fanout or hub")
	coalesce := flags.Bool("coalesce", false, "hub: send what came together in one piece")
	threads := flags.Int("threads", 1, "hub: so many send at the same time")
	address := flags.String("listen", "127.0.0.1:9001", "address to listen on; port 0 takes a free one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l := &loop{}
	switch *work {
	case "echo":
		l.handle = l.echo
	case "fanout":
		l.handle, l.ending = l.collect, l.flushBatch
	case "hub":
		if *threads < 1 || *threads > maxThreads {
			return fmt.Errorf("-threads %d: from 1 to %d", *threads, maxThreads)
		}
		return newHub(l, *coalesce, *threads).listen(out, *address)
	default:
		return fmt.Errorf("-work %q: must be echo, fanout or hub", *work)
	}
	return l.listen(out, *address)
}

const maxThreads = 256

// listen serves until it fails, and says on out where.
func (l *loop) listen(out io.Writer, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File() // in blocking mode, and not the runtime's
	if err != nil {
		return err
	}
	defer file.Close()
	l.listener = int(file.Fd())
	if err := syscall.SetNonblock(l.listener, true); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "listening on %s\n", listener.Addr()); err != nil {
		return err
	}
	return l.run()
}

// loop has all connections.
type loop struct {
	epoll    int
	listener int
	conns    []*conn // by file descriptor
	members  []*conn // densely, in the order in which they came
	handle   func(*conn, []byte) error
	ending   func() // of a turn, if not nil
	in       [256 << 10]byte
	batch    []byte // of this turn, for all
}

type conn struct {
	fd     int
	place  int    // in members
	unsent []byte // that the socket has not taken
	form   form   // of a hub's subscriber
	held   []byte // an incomplete request to a hub
	broken bool   // is to be removed
}

func (l *loop) run() (err error) {
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := l.control(syscall.EPOLL_CTL_ADD, l.listener, syscall.EPOLLIN); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, 512)
	for {
		n, err := syscall.EpollWait(l.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			if int(event.Fd) == l.listener {
				if err := l.accept(); err != nil {
					return err
				}
				continue
			}
			if c := l.conns[event.Fd]; c != nil && l.ready(c, event.Events) != nil {
				l.remove(c)
			}
		}
		if l.ending != nil {
			l.ending()
		}
	}
}

func (l *loop) control(op, fd int, events uint32) error {
	return syscall.EpollCtl(l.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func (l *loop) accept() error {
	for {
		fd, _, err := syscall.Accept4(l.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch err {
		case nil:
		case syscall.EAGAIN:
			return nil
		case syscall.EINTR, syscall.ECONNABORTED:
			continue
		default:
			return err
		}
		if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
			return err
		}
		for len(l.conns) <= fd {
			l.conns = append(l.conns, nil)
		}
		c := &conn{fd: fd, place: len(l.members), form: formNone}
		l.conns[fd] = c
		l.members = append(l.members, c)
		if err := l.control(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN); err != nil {
			return err
		}
	}
}

func (l *loop) remove(c *conn) {
	syscall.Close(c.fd) // which takes it out of the epoll too
	l.conns[c.fd] = nil
	last := l.members[len(l.members)-1]
	l.members[c.place], last.place = last, c.place
	l.members = l.members[:len(l.members)-1]
}

func (l *loop) ready(c *conn, events uint32) error {
	if events&syscall.EPOLLOUT != 0 {
		unsent := c.unsent
		c.unsent = nil
		if err := l.control(syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN); err != nil {
			return err
		}
		if err := l.send(c, unsent); err != nil {
			return err
		}
	}
	if events&^syscall.EPOLLOUT == 0 {
		return nil
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&l.in)), uintptr(len(l.in)))
	switch {
	case errno == syscall.EAGAIN, errno == syscall.EINTR:
		return nil
	case errno != 0:
		return errno
	case n == 0:
		return io.EOF
	}
	return l.handle(c, l.in[:n])
}

func (l *loop) echo(c *conn, b []byte) error { return l.send(c, b) }

func (l *loop) collect(_ *conn, b []byte) error {
	l.batch = append(l.batch, b...)
	return nil
}

// flushBatch sends to all what was collected in this turn.
func (l *loop) flushBatch() {
	if len(l.batch) == 0 {
		return
	}
	for i := len(l.members) - 1; i >= 0; i-- { // who is removed is replaced by one that had it
		if c := l.members[i]; l.send(c, l.batch) != nil {
			l.remove(c)
		}
	}
	l.batch = l.batch[:0]
}

func (l *loop) send(c *conn, b []byte) error {
	if len(c.unsent) > 0 {
		c.unsent = append(c.unsent, b...)
		return nil
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == syscall.EAGAIN, errno == syscall.EINTR:
		n = 0
	case errno != 0:
		return errno
	}
	if int(n) == len(b) {
		return nil
	}
	c.unsent = append(c.unsent, b[n:]...)
	return l.control(syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
}
