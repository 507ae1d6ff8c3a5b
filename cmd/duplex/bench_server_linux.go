package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// benchStart bounds the start of a server.
const benchStart = time.Minute

// benchServer is a server that was started to be measured.
type benchServer struct {
	command *exec.Cmd
	address string
	rest    sync.WaitGroup
}

// startBenchServer starts this program as a server, and waits until it listens.
// The caller has to end it.
func startBenchServer(ctx context.Context, pin bool) (_ *benchServer, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &benchServer{command: exec.CommandContext(ctx, program, "serve", "--listen", "127.0.0.1:0", "--h2c", "--memory", "--log-level", "warn")}
	// If we are killed, it goes with us.
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "DUPLEX_") { // they are about another server
			s.command.Env = append(s.command.Env, variable)
		}
	}
	if pin {
		s.command.Env = append(s.command.Env, "GOMAXPROCS=1")
	}
	complaints, err := s.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	// It is silent for ever only if it hangs.
	late := time.AfterFunc(benchStart, func() { _ = s.command.Process.Kill() })
	lines := bufio.NewReader(complaints)
	var said strings.Builder
	for s.address == "" {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if _, url, found := strings.Cut(line, "listens on http://"); found {
			s.address, _, _ = strings.Cut(url, " ")
		}
		if err != nil {
			late.Stop()
			return nil, errors.Join(fmt.Errorf("the server did not start: %s", strings.TrimSpace(said.String())), s.end())
		}
	}
	late.Stop()
	// Ends with the server. Joined by end.
	s.rest.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	if pin {
		if err := load.Pin(s.pid(), benchServerCore); err != nil {
			return nil, errors.Join(err, s.end())
		}
	}
	return s, nil
}

func (s *benchServer) pid() int { return s.command.Process.Pid }

// end kills the server, which has nothing to keep, and waits for its end.
func (s *benchServer) end() error {
	if err := s.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	s.rest.Wait()
	_ = s.command.Wait() // that it was killed is no news
	return nil
}
