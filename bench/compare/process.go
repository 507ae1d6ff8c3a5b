//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/duplexhq/duplex/internal/load"
)

const module = "github.com/duplexhq/duplex/bench"

// errUnable is a server that does not do what a work needs.
var errUnable = errors.New("the library does not do this")

// programs are the servers, built for this comparison.
type programs struct{ dir, server, floor string }

func build(ctx context.Context) (p programs, err error) {
	if p.dir, err = os.MkdirTemp("", "duplex-bench-"); err != nil {
		return p, err
	}
	p.server, p.floor = filepath.Join(p.dir, "server"), filepath.Join(p.dir, "floor")
	command := exec.CommandContext(ctx, "go", "build", "-o", p.dir, module+"/server", module+"/floor")
	if text, err := command.CombinedOutput(); err != nil {
		return p, errors.Join(fmt.Errorf("go build: %w\n%s", err, text), p.remove())
	}
	return p, nil
}

func (p programs) remove() error { return os.RemoveAll(p.dir) }

// server is a running one.
type server struct {
	command *exec.Cmd
	address string
}

// start starts a server and waits until it listens. The caller has to end it.
func (p programs) start(ctx context.Context, w work, name string, unpinned bool) (*server, error) {
	path, args := p.server, []string{"-lib", name}
	if name == floor {
		path, args = p.floor, []string{"-work", w.floor}
	} else if w.deflate {
		args = append(args, "-deflate")
	}
	command := exec.CommandContext(ctx, path, append(args, "-listen", "127.0.0.1:0")...)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	// If we are killed, it goes with us.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Env = os.Environ()
	if !unpinned {
		command.Env = append(command.Env, "GOMAXPROCS=1")
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	s := &server{command: command}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(line, "listening on ")
	if err != nil || !ok {
		s.end()
		if w.deflate && strings.Contains(complaint.String(), "-deflate") {
			return nil, errUnable
		}
		return nil, fmt.Errorf("%s did not start: %s", name, strings.TrimSpace(complaint.String()))
	}
	s.address = strings.TrimSpace(address)
	if !unpinned {
		if err := load.Pin(command.Process.Pid, serverCore); err != nil {
			s.end()
			return nil, err
		}
	}
	return s, nil
}

// end kills the server and waits for its end.
func (s *server) end() {
	_ = s.command.Process.Kill() // it may have ended by itself
	_ = s.command.Wait()         // its status is that it was killed
}
