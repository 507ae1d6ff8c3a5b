//go:build linux

// Package rig builds and starts the programs that are to be measured, binds
// them to their cores, and notes the conditions.
package rig

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// The server has a core, and what puts load on it another.
const (
	ServerCore    = 0
	GeneratorCore = 1
)

const (
	startTimeout = time.Minute     // of a server: its start waits for the disk some times
	endTimeout   = 5 * time.Second // of one that is asked to end
)

// Programs are what was built, in a directory of its own.
type Programs struct{ Dir string }

// Build builds packages of the current module. The caller has to remove them.
func Build(ctx context.Context, packages ...string) (p Programs, err error) {
	if p.Dir, err = os.MkdirTemp("", "duplex-bench-"); err != nil {
		return p, err
	}
	if err := p.Add(ctx, "", packages...); err != nil {
		return p, errors.Join(err, p.Remove())
	}
	return p, nil
}

// Add builds more of them, of the module in a directory, or of the current one if
// dir is empty.
func (p Programs) Add(ctx context.Context, dir string, packages ...string) error {
	command := exec.CommandContext(ctx, "go", append([]string{"build", "-o", p.Dir}, packages...)...)
	command.Dir = dir
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	return nil
}

// Path gives the path of a program by its name.
func (p Programs) Path(name string) string { return filepath.Join(p.Dir, name) }

// Remove removes all of them.
func (p Programs) Remove() error { return os.RemoveAll(p.Dir) }

// Launch is how a server is started.
type Launch struct {
	Path string
	Args []string
	Env  []string // more variables
	// Address is where it will listen. If it is empty, the server says so on
	// one of its outputs, in a line that has Announce before the address.
	Address  string
	Announce string
	Unpinned bool
	// Worker: a child of the process does the work, and is what is measured.
	// The process ends it when it is told to end.
	Worker bool
}

// Server is a running one.
type Server struct {
	Address string
	PID     int // of the process to measure
	command *exec.Cmd
	gentle  bool
	said    *os.File // by the server
	outputs sync.WaitGroup
}

// A StartError is that a server did not start.
type StartError struct {
	Path string
	Said string // on its outputs
}

func (e *StartError) Error() string {
	return fmt.Sprintf("%s did not start: %s", filepath.Base(e.Path), e.Said)
}

// Start starts a server and waits until it listens. The caller has to end it.
func Start(ctx context.Context, launch Launch) (*Server, error) {
	s := &Server{Address: launch.Address, gentle: launch.Worker}
	s.command = exec.CommandContext(ctx, launch.Path, launch.Args...)
	// If we are killed, it goes with us.
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.gentle {
		s.command.SysProcAttr.Pdeathsig = syscall.SIGTERM
		s.command.Cancel = func() error { return s.command.Process.Signal(syscall.SIGTERM) }
		s.command.WaitDelay = endTimeout
	}
	s.command.Env = append(os.Environ(), launch.Env...)
	if !launch.Unpinned {
		s.command.Env = append(s.command.Env, "GOMAXPROCS=1")
	}
	said, err := s.start(launch)
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx, launch, said); err != nil {
		s.End()
		return nil, err
	}
	return s, nil
}

// start starts the process, and gives what it says.
func (s *Server) start(launch Launch) (*transcript, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.command.Stdout, s.command.Stderr = w, w
	err = s.command.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	said := &transcript{announce: launch.Announce, address: make(chan string, 1)}
	s.said = r
	// Ends with the server. Joined by End.
	s.outputs.Go(func() { said.read(r) })
	return said, nil
}

// ready waits until the server listens.
func (s *Server) ready(ctx context.Context, launch Launch, said *transcript) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if s.Address == "" {
		select {
		case address, ok := <-said.address:
			if !ok {
				return &StartError{launch.Path, said.text()}
			}
			s.Address = address
		case <-ctx.Done():
			return &StartError{launch.Path, said.text()}
		}
	}
	for {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", s.Address)
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-said.address: // it is closed: the server has ended
			return &StartError{launch.Path, said.text()}
		case <-ctx.Done():
			return &StartError{launch.Path, fmt.Sprintf("%v\n%s", err, said.text())}
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.PID = s.command.Process.Pid
	if launch.Worker {
		var err error
		if s.PID, err = worker(ctx, s.PID); err != nil {
			return err
		}
	}
	if launch.Unpinned {
		return nil
	}
	return load.Pin(s.PID, ServerCore)
}

// worker gives the only child of a process. It may not be there yet when the
// socket is.
func worker(ctx context.Context, pid int) (int, error) {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(text))
		if len(fields) == 1 {
			return strconv.Atoi(fields[0])
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("process %d has %d children, want one worker", pid, len(fields))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// End ends the server, and waits until it is gone.
func (s *Server) End() {
	if s.gentle {
		late := time.AfterFunc(endTimeout, func() {
			if s.PID != 0 {
				_ = syscall.Kill(s.PID, syscall.SIGKILL) // else the worker would stay
			}
			_ = s.command.Process.Kill()
		})
		defer late.Stop()
		_ = s.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	} else {
		_ = s.command.Process.Kill()
	}
	_ = s.command.Wait() // its status is that it was ended
	s.said.Close()       // somebody else may still have the other end
	s.outputs.Wait()
}

const maxTranscript = 8 << 10

// transcript is what a server says.
type transcript struct {
	announce string
	address  chan string // once, if it announces one; closed when it has ended

	mu   sync.Mutex // guards said
	said bytes.Buffer
}

func (t *transcript) read(r io.Reader) {
	defer close(t.address)
	found := t.announce == ""
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		t.mu.Lock()
		if t.said.Len() < maxTranscript {
			t.said.WriteString(line)
		}
		t.mu.Unlock()
		if _, address, ok := strings.Cut(line, t.announce); ok && !found {
			found = true
			address, _, _ = strings.Cut(strings.TrimSpace(address), " ")
			t.address <- address
		}
		if err != nil {
			return
		}
	}
}

func (t *transcript) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.said.String())
}
