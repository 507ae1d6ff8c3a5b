package testnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const address = "server.test:80"

// connect gives both ends of a connection.
func connect(t *testing.T, n *Network, l net.Listener) (client, server net.Conn) {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	client, err := n.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

func listen(t *testing.T, n *Network, address string) net.Listener {
	t.Helper()
	l, err := n.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if _, ok := errors.AsType[*net.OpError](err); !ok || !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestListenAndDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		_, err := n.Dial(t.Context(), "tcp", address)
		wantError(t, "nobody listens", err, syscall.ECONNREFUSED)
		named, numbered := listen(t, n, address), listen(t, n, "127.0.0.1:80")
		_, err = n.Listen("tcp", address)
		wantError(t, "the address is in use", err, syscall.EADDRINUSE)
		if ip, ok := numbered.Addr().(*net.TCPAddr); !ok || !ip.IP.IsLoopback() || ip.Port != 80 {
			t.Errorf("%v listens", numbered.Addr())
		}
		for _, l := range []net.Listener{named, numbered} {
			client, server := connect(t, n, l)
			if client.RemoteAddr() != l.Addr() || server.LocalAddr() != l.Addr() || client.LocalAddr() != server.RemoteAddr() {
				t.Errorf("addresses %v %v and %v %v", client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
			}
			go io.WriteString(client, "hello")
			got := make([]byte, 5)
			if _, err := io.ReadFull(server, got); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err = n.Dial(ctx, "tcp", address)
		wantError(t, "nobody accepts", err, context.DeadlineExceeded)
		if took := time.Since(began); took != time.Hour {
			t.Errorf("took %v", took)
		}
		time.AfterFunc(time.Minute, func() { named.Close() })
		_, err = n.Dial(t.Context(), "tcp", address)
		wantError(t, "closed meanwhile", err, syscall.ECONNREFUSED)
		_, err = named.Accept()
		wantError(t, "accept", err, net.ErrClosed)
		wantError(t, "close again", named.Close(), net.ErrClosed)
		listen(t, n, address)
		if n.Dialled() != 5 || n.Open() != 2 {
			t.Errorf("%d dialled, %d open", n.Dialled(), n.Open())
		}
	})
}

func TestClose(t *testing.T) {
	for name, route := range map[string]func(int) Path{"direct": nil, "relayed": func(int) Path { return Relay }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				n.Route = route
				client, server := connect(t, n, listen(t, n, address))
				if n.Open() != 1 {
					t.Errorf("%d open", n.Open())
				}
				client.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("after the deadline: %v", err)
				}
				client.SetReadDeadline(time.Time{})
				go func() {
					io.WriteString(server, "bye")
					server.Close()
				}()
				if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
					t.Errorf("%q, %v", got, err)
				}
				_, err := client.Write([]byte("x"))
				wantError(t, "write to who is gone", err, syscall.EPIPE)
				if n.Open() != 0 {
					t.Errorf("%d open", n.Open())
				}
				client.Close()
				for _, conn := range []net.Conn{client, server} {
					_, err := conn.Read(make([]byte, 1))
					wantError(t, "read", err, net.ErrClosed)
					_, err = conn.Write([]byte("x"))
					wantError(t, "write", err, net.ErrClosed)
				}
			})
		})
	}
}

func TestCut(t *testing.T) {
	for name, route := range map[string]func(int) Path{"direct": nil, "relayed": func(int) Path { return Relay }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				n.Route = route
				l := listen(t, n, address)
				client, server := connect(t, n, l)
				connect(t, n, l)
				time.AfterFunc(time.Minute, func() {
					if cut := n.Cut(); cut != 2 || n.Open() != 0 {
						t.Errorf("%d were cut, %d are open", cut, n.Open())
					}
				})
				for _, conn := range []net.Conn{client, server} {
					_, err := conn.Read(make([]byte, 1))
					wantError(t, "read", err, syscall.ECONNRESET)
					_, err = conn.Write([]byte("x"))
					wantError(t, "write", err, syscall.ECONNRESET)
				}
				connect(t, n, l) // the network goes on
			})
		})
	}
}

// A route may differ for each connection, and net/http goes over all of them.
func TestPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		late := func(client, server net.Conn) {
			time.Sleep(time.Minute)
			Relay(client, server)
		}
		n.Route = func(number int) Path { return []Path{nil, Relay, late, CutAfter(20), CutAfter(0)}[number-1] }
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.RemoteAddr)
		})}
		go server.Serve(listen(t, n, address))
		t.Cleanup(func() { server.Close() })
		transport := &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}
		for number := 1; number <= 5; number++ {
			began := time.Now()
			request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if cut := number > 3; cut != (err != nil) {
				t.Fatalf("connection %d: %v", number, err)
			} else if cut {
				continue
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if want := "192.0.2.1:102"; err != nil || len(body) != len(want)+1 || string(body[:len(want)]) != want {
				t.Errorf("connection %d: %q, %v", number, body, err)
			}
			if late := number == 3; late != (time.Since(began) == time.Minute) {
				t.Errorf("connection %d took %v", number, time.Since(began))
			}
		}
	})
}
