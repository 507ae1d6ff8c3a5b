package poller_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var loadUnder = flag.String("load.under", "", "command that the benchmarks' load runs under, such as taskset -c 1")

const loadVariable = "POLLER_TEST_LOAD"

// TestMain is also the load's main: a process of its own, so that the
// benchmarks can tell the server's CPU time.
func TestMain(m *testing.M) {
	if task := os.Getenv(loadVariable); task != "" {
		if err := runLoad(task); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const frameBytes = 32

// A load is a process that has connections to this one, and keeps frames in
// flight on them.
type load struct {
	b       testing.TB
	command *exec.Cmd
	orders  io.Writer
	answers *bufio.Reader
}

// newLoad gives serve this process's sides of the connections.
func newLoad(b testing.TB, conns, inFlight int, serve func(net.Conn)) *load {
	b.Helper()
	d := newDialer(b)
	args := append(strings.Fields(*loadUnder), os.Args[0])
	l := &load{b: b, command: exec.Command(args[0], args[1:]...)}
	l.command.Env = append(os.Environ(), fmt.Sprintf("%s=%v %d %d", loadVariable, d.ln.Addr(), conns, inFlight))
	l.command.Stderr = os.Stderr
	stdin, err := l.command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := l.command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	l.orders, l.answers = stdin, bufio.NewReader(stdout)
	if err := l.command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		if err := l.command.Wait(); err != nil {
			b.Error(err)
		}
	})
	for range conns {
		c, err := d.ln.AcceptTCP()
		if err != nil {
			b.Fatal(err)
		}
		serve(c)
	}
	l.wait()
	return l
}

func (l *load) wait() {
	l.b.Helper()
	if _, err := l.answers.ReadString('\n'); err != nil {
		l.b.Fatal(err)
	}
}

// run has n frames go there and back.
func (l *load) run(n int) {
	l.b.Helper()
	if _, err := fmt.Fprintln(l.orders, n); err != nil {
		l.b.Fatal(err)
	}
	l.wait()
}

// runLoad is the other process.
func runLoad(task string) error {
	var addr string
	var conns, inFlight int
	if _, err := fmt.Sscan(task, &addr, &conns, &inFlight); err != nil {
		return err
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	var fds []int
	for range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		var failure error
		err = raw.Control(func(fd uintptr) {
			var duplicate int
			if duplicate, failure = unix.Dup(int(fd)); failure == nil {
				fds = append(fds, duplicate)
				failure = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, duplicate, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(duplicate)})
			}
		})
		if err != nil || failure != nil {
			return fmt.Errorf("%w, %w", err, failure)
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	fmt.Println("connected")
	for {
		var n int
		if _, err := fmt.Scan(&n); err != nil {
			return nil // the benchmark is over
		}
		if err := exchange(epfd, fds, inFlight, n); err != nil {
			return err
		}
		fmt.Println("done")
	}
}

// exchange sends n frames and waits until all have come back.
func exchange(epfd int, fds []int, inFlight, n int) error {
	burst := make([]byte, frameBytes*inFlight)
	buf := make([]byte, 64<<10)
	events := make([]unix.EpollEvent, 256)
	partial := make(map[int32]int)
	sent, back := 0, 0
	for _, fd := range fds {
		k := min(inFlight, n-sent)
		if _, err := unix.Write(fd, burst[:k*frameBytes]); err != nil {
			return err
		}
		sent += k
	}
	for back < n {
		ready, err := unix.EpollWait(epfd, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(ready, 0)] {
			got, err := unix.Read(int(e.Fd), buf)
			if err != nil || got == 0 {
				return fmt.Errorf("read %d bytes: %w", got, err)
			}
			got += partial[e.Fd]
			partial[e.Fd] = got % frameBytes
			back += got / frameBytes
			if k := min(got/frameBytes, n-sent); k > 0 {
				if _, err := unix.Write(int(e.Fd), burst[:k*frameBytes]); err != nil {
					return err
				}
				sent += k
			}
		}
	}
	return nil
}
