//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
	"github.com/duplexhq/duplex/websocket"
)

// The test's own program is the server too, in a process of its own.
const asServer = "BENCH_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start gives the options of a short run against a server.
func start(t *testing.T, args ...string) load.Options {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], append(args, "-listen", "127.0.0.1:0")...)
	command.Env = append(os.Environ(), asServer+"=1")
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()         // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(line, "listening on ")
	if err != nil || !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return load.Options{
		Address:  strings.TrimSpace(address),
		PID:      command.Process.Pid,
		Settle:   50 * time.Millisecond,
		Warmup:   20 * time.Millisecond,
		Duration: 30 * time.Second,
		Messages: 50,
	}
}

func check(t *testing.T, r *load.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults() != "" || r.Messages < 50 || r.Server.RSSAfter == 0 {
		t.Errorf("%d messages, %d bytes, faults: %s", r.Messages, r.Server.RSSAfter, r.Faults())
	}
}

// Every library does what the path promises, without a loss.
func TestLibraries(t *testing.T) {
	for name, lib := range libraries {
		t.Run(name, func(t *testing.T) {
			options := start(t, "-lib", name)
			if lib.posts {
				via := load.WebSocket
				if lib.streams {
					via = load.SSE
				}
				t.Run("post", func(t *testing.T) {
					r, err := load.Topic(t.Context(), load.TopicOptions{
						Options: options, Dialect: load.Hub, Transports: []load.Transport{via}, Subscribers: 10, Publishers: 2, Bytes: 128, Window: 8,
					})
					check(t, r, err)
				})
			}
			if lib.streams {
				r, err := load.Topic(t.Context(), load.TopicOptions{Options: options, Dialect: load.Requests, Publishers: 5, Bytes: 128, Window: 5})
				check(t, r, err)
				return
			}
			t.Run("echo", func(t *testing.T) {
				r, err := load.Echo(t.Context(), load.EchoOptions{Options: options, Connections: 10, Bytes: 1000, Window: 4})
				check(t, r, err)
			})
			t.Run("long", func(t *testing.T) {
				r, err := load.Echo(t.Context(), load.EchoOptions{Options: options, Connections: 2, Bytes: 200_000, Text: true})
				check(t, r, err)
			})
			t.Run("fanout", func(t *testing.T) {
				for range 2 { // the second time, the first members have left
					r, err := load.Broadcast(t.Context(), load.BroadcastOptions{Options: options, Connections: 10, Publishers: 2, Bytes: 128, Window: 8})
					check(t, r, err)
				}
			})
			t.Run("types and pings", func(t *testing.T) { typesAndPings(t, options.Address) })
			if lib.deflates {
				options := start(t, "-lib", name, "-deflate")
				r, err := load.Echo(t.Context(), load.EchoOptions{Options: options, Connections: 2, Bytes: 4096, Deflate: true})
				check(t, r, err)
			}
		})
	}
}

func typesAndPings(t *testing.T, address string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, path := range []string{"/echo", "/fanout"} {
		c, _, err := websocket.Dial(ctx, "ws://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		for _, want := range []websocket.MessageType{websocket.Text, websocket.Binary} {
			// Only what has come back proves that a hub knows us: before, it
			// may not have heard of us.
			var got websocket.MessageType
			for got != want { // what was said before may come late
				if err := c.Write(ctx, want, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				read, stop := context.WithTimeout(ctx, time.Second)
				messageType, message, err := c.Read(read)
				stop()
				if err != nil && path == "/fanout" && ctx.Err() == nil && context.Cause(read) == context.DeadlineExceeded {
					continue
				}
				if err != nil || string(message) != "hello" {
					t.Fatalf("%s: %q, %v", path, message, err)
				}
				if got = messageType; got != want && path == "/echo" {
					t.Fatalf("%s: type %v came back as %v", path, want, got)
				}
			}
		}
		reading := make(chan error, 1)
		go func() { // ends with the connection
			_, _, err := c.Read(ctx)
			reading <- err
		}()
		if _, err := c.Ping(ctx); err != nil {
			t.Errorf("%s: ping: %v", path, err)
		}
		c.CloseNow()
		<-reading
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "-lib"},
		{"-lib nothing", "must be one of coder, duplex-event"},
		{"-lib gobwas -deflate", "gobwas does not do permessage-deflate"},
		{"-lib gws -read-limit 0", "-read-limit"},
		{"-lib gws more", "unexpected argument"},
		{"-lib gws -listen 127.0.0.1:x", "listen"},
	} {
		err := run(strings.Fields(test.args), io.Discard)
		if err == nil || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%q: %v, want %q", test.args, err, test.want)
		}
	}
}
