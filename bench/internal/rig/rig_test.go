//go:build linux

package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// shell launches a script.
func shell(script string) Launch {
	return Launch{Path: "/bin/sh", Args: []string{"-c", script}, Announce: "listening on ", Unpinned: true}
}

func TestStartFails(t *testing.T) {
	for script, want := range map[string]string{
		"echo no such thing >&2; exit 3": "no such thing",
		"exit 0":                         "did not start",
	} {
		for _, address := range []string{"", "127.0.0.1:1"} { // it says where it listens, or was told
			launch := shell(script)
			launch.Address = address
			s, err := Start(t.Context(), launch)
			if e, ok := errors.AsType[*StartError](err); !ok || !strings.Contains(e.Error(), want) {
				t.Errorf("%s: %v, %v", script, s, err)
			}
		}
	}
	if _, err := Start(t.Context(), Launch{Path: "/nowhere"}); err == nil {
		t.Error("started nothing")
	}
	noChildren(t)
}

// What is announced is where the server is; the rest of its output is read
// until it is ended.
func TestStartAndEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	const announce = "echo hello; echo it is listening on "
	for _, test := range []struct {
		worker bool
		script string
	}{
		{false, " now; exec sleep 1000"},
		{true, " now; trap 'kill -9 $!; wait; exit' TERM; sleep 1000 & wait"},
	} {
		launch := shell(announce + address + test.script)
		launch.Worker = test.worker
		s, err := Start(t.Context(), launch)
		if err != nil {
			t.Fatal(err)
		}
		if s.Address != address || (s.PID != s.command.Process.Pid) != test.worker {
			t.Errorf("%s, process %d of %d", s.Address, s.PID, s.command.Process.Pid)
		}
		s.End()
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID)); err == nil && !strings.Contains(string(status), " Z ") {
			t.Errorf("still there: %s", status)
		}
	}
	noChildren(t)
}

func noChildren(t *testing.T) {
	t.Helper()
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("there are still child processes: %v", err)
	}
}
