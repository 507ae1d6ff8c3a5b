//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a child that does not outlive its test.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr transcript
	ended          chan struct{} // closed when it has ended
}

// command prepares a program of the machine: only the loopback interface is
// for it, and if the tests are killed, it is, too.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	for _, variable := range os.Environ() {
		if key, _, _ := strings.Cut(variable, "="); !strings.HasSuffix(strings.ToLower(key), "_proxy") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start runs a command in the background.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.stdout
	}
	cmd.Stderr = &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Ends with the process. Joined by the cleanup.
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the state says it all
	}()
	t.Cleanup(func() {
		if !p.hasEnded() {
			_ = cmd.Process.Kill() // it may have ended just now
			<-p.ended
		}
		if t.Failed() && p.stderr.String() != "" {
			t.Logf("standard error of %v:\n%s", cmd.Args, tail(p.stderr.String(), 8<<10))
		}
	})
	return p
}

func tail(s string, most int) string { return s[max(0, len(s)-most):] }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !p.hasEnded() {
		t.Error(err)
	}
}

// exitCode waits for the end.
func (p *process) exitCode(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%v does not end", p.cmd.Args)
		return -1
	}
}

// run runs a command to its end and returns its standard output. It must
// succeed.
func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	p := start(t, cmd)
	if code := p.exitCode(t); code != 0 {
		t.Fatalf("%v: exit code %d\n%s%s", cmd.Args, code, p.stdout.String(), p.stderr.String())
	}
	return p.stdout.String()
}

// A transcript is what a process has written so far.
type transcript struct {
	mu    sync.Mutex // guards bytes
	bytes bytes.Buffer
}

var _ io.Writer = (*transcript)(nil)

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes.String()
}

// lines are those that are complete.
func (s *transcript) lines() []string {
	lines := strings.Split(s.String(), "\n")
	return lines[:len(lines)-1]
}
