package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/duplexhq/duplex/websocket/wire"
)

// agreedOn gives options of a connection on which params were agreed.
func agreedOn(role wire.Role, params wire.Deflate, k Compression, options Options) Options {
	options.deflate = newDeflate(&k, params, role, 0)
	return options
}

// compressedPair is pair with compression.
func compressedPair(t *testing.T, params wire.Deflate, k Compression, options Options) (server, client *Conn) {
	t.Helper()
	server, client = pair(t, Options{})
	server = newConn(server.conn, wire.Server, "", agreedOn(wire.Server, params, k, options), nil)
	client = newConn(client.conn, wire.Client, "", agreedOn(wire.Client, params, k, options), nil)
	t.Cleanup(server.CloseNow)
	t.Cleanup(client.CloseNow)
	return server, client
}

var alone = wire.Deflate{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}

// samples are messages of many lengths that refer to themselves and to each other over many
// distances.
func samples() [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = "acgt"[random.IntN(4)]
	}
	messages := [][]byte{nil, []byte("a"), []byte(strings.Repeat("ab", 500)), make([]byte, 100_000), noise[:300]}
	for bits := wire.MinWindowBits; bits <= wire.MaxWindowBits; bits++ {
		window := 1 << bits
		for _, distance := range []int{window - 258, window - 1, window, window + 1, 2*window - 1} {
			if distance > 0 {
				messages = append(messages, bytes.Repeat(noise[:distance], 2+300/distance))
			}
		}
	}
	for i := range 20 {
		at := random.IntN(len(noise) - 3000)
		messages = append(messages, fmt.Appendf(nil, "%s number %d", noise[at:at+random.IntN(3000)], i))
	}
	return append(messages, noise)
}

// windows gives all window bits there are. The race detector makes compressing very slow, and has
// seen it all with some of them.
func windows() []int {
	if raceEnabled {
		return []int{8, 13}
	}
	return []int{8, 9, 10, 11, 12, 13, 14, 15}
}

// Every message arrives, in one piece and in fragments, and never refers beyond the window: the
// receiver would fail the connection.
func TestCompressedRoundTrips(t *testing.T) {
	t.Parallel()
	messages := samples()
	for _, bits := range windows() {
		for _, takeover := range []bool{false, true} {
			for _, level := range []int{1, 6, 9} {
				if level > 1 && bits%3 > 0 {
					continue // to save time: the levels above 6 clear 640 KiB for each message
				}
				t.Run(fmt.Sprintf("%d bits, takeover %v, level %d", bits, takeover, level), func(t *testing.T) {
					t.Parallel()
					params := wire.Deflate{ServerNoContextTakeover: !takeover, ClientNoContextTakeover: !takeover, ServerMaxWindowBits: bits, ClientMaxWindowBits: bits}
					server, client := compressedPair(t, params, Compression{Threshold: -1, Level: level}, Options{})
					for _, way := range [][2]*Conn{{server, client}, {client, server}} {
						var wg sync.WaitGroup
						wg.Go(func() {
							for i, message := range messages {
								if err := writeSomehow(way[0], i, message); err != nil {
									t.Error(err)
									return
								}
							}
						})
						for i, want := range messages {
							_, got, err := way[1].Read(t.Context())
							if err != nil || !bytes.Equal(got, want) {
								t.Fatalf("message %d of %d bytes: got %d, %v", i, len(want), len(got), err)
							}
						}
						wg.Wait()
						if n := cap(way[0].deflate.history); n > 1<<bits || takeover != (n > 0) {
							t.Errorf("%d bytes of history", n)
						}
					}
				})
			}
		}
	}
}

// writeSomehow sends a message as one frame or as several.
func writeSomehow(c *Conn, i int, message []byte) error {
	if i%2 == 0 {
		return c.Write(context.Background(), Binary, message)
	}
	w, err := c.Writer(context.Background(), Binary)
	if err != nil {
		return err
	}
	for at := 0; at < len(message); {
		n := min(len(message)-at, 1+i*i%9000)
		if _, err := w.Write(message[at : at+n]); err != nil {
			return err
		}
		if at += n; i%3 == 0 {
			w.(interface{ Flush() error }).Flush()
		}
	}
	return w.Close()
}

// What is compressed shows in RSV1 (RFC 7692 §6): what is long enough and gets smaller, and was
// not excepted.
func TestWhatIsCompressed(t *testing.T) {
	t.Parallel()
	long := []byte(strings.Repeat("compressible ", 100))
	noise := make([]byte, 1000)
	rand.NewChaCha8([32]byte{3}).Read(noise)
	stream := func(parts ...[]byte) func(*Conn) error {
		return func(c *Conn) error {
			w, err := c.Writer(context.Background(), Binary)
			for _, part := range parts {
				w.Write(part)
				w.(interface{ Flush() error }).Flush()
			}
			return errors.Join(err, w.Close())
		}
	}
	ctx := context.Background()
	prepared, _ := Prepare(Binary, long)
	for _, test := range []struct {
		name  string
		k     Compression
		write func(*Conn) error
		want  string // the frames: c compressed, p plain, . continued
	}{
		{"long", Compression{}, func(c *Conn) error { return c.Write(ctx, Text, long) }, "c"},
		{"of 255 bytes", Compression{}, func(c *Conn) error { return c.Write(ctx, Text, long[:255]) }, "p"},
		{"of 256 bytes", Compression{}, func(c *Conn) error { return c.Write(ctx, Text, long[:256]) }, "c"},
		{"below a threshold", Compression{Threshold: 1000}, func(c *Conn) error { return c.Write(ctx, Text, long[:999]) }, "p"},
		{"without threshold", Compression{Threshold: -1}, func(c *Conn) error { return c.Write(ctx, Text, long[:130]) }, "c"},
		{"noise", Compression{}, func(c *Conn) error { return c.Write(ctx, Binary, noise) }, "p"},
		{"empty", Compression{Threshold: -1}, func(c *Conn) error { return c.Write(ctx, Binary, nil) }, "p"},
		{"WritePlain", Compression{}, func(c *Conn) error { return c.WritePlain(ctx, Text, long) }, "p"},
		{"WritePrepared", Compression{}, func(c *Conn) error { return c.WritePrepared(ctx, prepared) }, "c"},
		{"a short stream", Compression{}, func(c *Conn) error {
			w, _ := c.Writer(ctx, Text)
			w.Write(long)
			return w.Close()
		}, "c"},
		{"a stream", Compression{}, stream(long, long[:10], noise), "c..."},
		{"a stream that begins with little", Compression{}, stream(long[:10], long), "p.."},
		{"a stream that begins with noise", Compression{}, stream(noise, long), "p.."},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client := compressedPair(t, alone, test.k, Options{})
			for name, way := range map[string][2]*Conn{"server": {server, client}, "client": {client, server}} {
				got := ""
				way[1].observe = func(e FrameEvent) {
					switch {
					case e.Opcode == wire.Continuation:
						got += "."
					case e.RSV == wire.RSV1:
						got += "c"
					case e.RSV == 0:
						got += "p"
					}
				}
				go func() {
					if err := test.write(way[0]); err != nil {
						t.Error(err)
					}
				}()
				if _, _, err := way[1].Read(t.Context()); err != nil || got != test.want {
					t.Errorf("%s, %s: got %s, %v; want %s", name, test.name, got, err, test.want)
				}
			}
		})
	}
}

// With takeover a message refers to those before, and after a shared frame only to later ones.
func TestTakeover(t *testing.T) {
	t.Parallel()
	message := make([]byte, 2000)
	for i := range message {
		message[i] = 'a' + byte(i*i%26*i/7%26)
	}
	for _, takeover := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			params := wire.Deflate{ServerNoContextTakeover: !takeover, ServerMaxWindowBits: 12, ClientMaxWindowBits: 12}
			server, client := compressedPair(t, params, Compression{}, Options{})
			var sizes []int64
			client.observe = func(e FrameEvent) { sizes = append(sizes, e.Length) }
			form := server.FrameForm()
			go func() {
				server.Write(t.Context(), Text, message)
				server.Write(t.Context(), Text, message)
				server.WriteFrames(t.Context(), form.AppendMessage(nil, Text, message))
				server.Write(t.Context(), Text, message)
				server.Write(t.Context(), Text, message)
			}()
			for i := range 5 {
				if _, got, err := client.Read(t.Context()); !bytes.Equal(got, message) {
					t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
				}
			}
			for i, again := range []bool{false, true, false, false, true} {
				if small := sizes[i] < sizes[0]/4; small != (again && takeover) {
					t.Errorf("takeover %v: message %d has %d bytes", takeover, i, sizes[i])
				}
			}
		})
	}
}

// What a peer does wrong with compressed data ends in a close frame that says so.
func TestCompressedFaultsCloseTheConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		bytes string
		code  CloseCode
	}{
		{"RSV1 on a ping", "\xc9\x00", 1002},
		{"RSV1 on a continuation", "\x41\x00\xc0\x00", 1002},
		{"RSV2", "\xe1\x00", 1002},
		{"cut short", "\xc1\x06\xf2\x48\xcd\xc9\xc9\x07", 1007},
		{"junk after a final block", "\xc1\x0a\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff\xff", 1007},
		{"not DEFLATE", "\x41\x01\x06", 1007},
		{"text not UTF-8, in the middle of a message", "\x41\x06\x00\x01\x00\xfe\xff\xff", 1007},
		{"a reference to the message before", "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", 1007},
		{"a length of 2^40", "\xc2\x7f\x00\x00\x01\x00\x00\x00\x00\x00", 1009},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, wire.Client, agreedOn(wire.Client, alone, Compression{}, Options{}))
			go io.WriteString(p.conn, test.bytes)
			p.does(func() {
				h, payload, err := p.next()
				if err != nil || h.Opcode != wire.Close || len(payload) < 2 || CloseCode(binary.BigEndian.Uint16([]byte(payload))) != test.code {
					t.Errorf("%s: peer got %+v %q, %v", test.name, h, payload, err)
				}
				p.wantEnd()
			})
			var err error
			for err == nil {
				_, _, err = c.Read(t.Context())
			}
			wantClosed(t, err, test.code, false)
		})
	}
}

// bomb gives a frame of a client with so many mebibytes of zeros.
func bomb(t *testing.T, mebibytes int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 1<<20))
	w.Flush()
	payload := append(repeat(b.Bytes(), mebibytes), 0)
	h := wire.Header{Fin: true, RSV: wire.RSV1, Opcode: Binary, Masked: true, Key: 1, Length: int64(len(payload))}
	h.Key.Mask(payload)
	return append(wire.AppendHeader(nil, h), payload...)
}

// A gigabyte of zeros in a megabyte: the limit holds while it is inflated.
func TestBomb(t *testing.T) {
	t.Parallel()
	attack := bomb(t, 1024)
	if len(attack) > 1<<21 {
		t.Fatalf("%d bytes", len(attack))
	}
	for _, takeover := range []bool{false, true} {
		params := alone
		params.ClientNoContextTakeover = !takeover
		c := scripted(t, wire.Server, agreedOn(wire.Server, params, Compression{}, Options{ReadLimit: 2 << 20}), bytes.Clone(attack), 1000)
		_, partial, err := c.ReadAppend(t.Context(), nil)
		wantClosed(t, err, CloseTooBig, false)
		if len(partial) > 2<<20 || cap(partial) > 3<<20 {
			t.Errorf("%d bytes held for %d of message", cap(partial), len(partial))
		}
	}
	c := scripted(t, wire.Server, agreedOn(wire.Server, alone, Compression{}, Options{ReadLimit: 4 << 20}), bomb(t, 4), 1<<20)
	if _, message, err := c.Read(t.Context()); len(message) != 4<<20 {
		t.Errorf("at the limit: %d bytes, %v", len(message), err)
	}
}

// A deadline in the middle of a compressed message leaves the stream usable.
func TestNetConnDeadlineInsideACompressedMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, agreedOn(wire.Client, alone, Compression{}, Options{}))
		stream := NetConn(t.Context(), c, Binary)
		p.does(func() {
			for _, b := range []byte("\xc2\x07\xf2\x48\xcd\xc9\xc9\x07\x00") {
				time.Sleep(time.Second)
				p.write([]byte{b})
			}
		})
		got, timeouts := "", 0
		for len(got) < 5 {
			stream.SetReadDeadline(time.Now().Add(700 * time.Millisecond))
			b := make([]byte, 10)
			n, err := stream.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				timeouts++
			} else if err != nil {
				t.Fatal(err)
			}
			got += string(b[:n])
		}
		stream.SetReadDeadline(time.Now().Add(2 * time.Second)) // for what remains of the message: its end
		if n, err := stream.Read(make([]byte, 10)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("then %d bytes, %v", n, err)
		}
		if got != "Hello" || timeouts < 5 {
			t.Errorf("got %q after %d deadlines", got, timeouts)
		}
	})
}

// A reader that is left in the middle, and what follows it.
func TestCompressedReaderLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, client := compressedPair(t, wire.Deflate{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, Compression{}, Options{})
		go func() {
			for range 3 {
				server.Write(t.Context(), Binary, make([]byte, 200_000))
				server.Write(t.Context(), Text, []byte("next"))
			}
		}()
		for i := range 3 {
			_, r, err := client.Reader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			io.ReadFull(r, make([]byte, i*90_000+1))
			if _, message, err := client.Read(t.Context()); string(message) != "next" {
				t.Fatalf("got %q, %v", message, err)
			}
		}
	})
}

// 100 goroutines write to one connection with takeover, some stream, some share frames, and all
// of it comes back.
func TestCompressedFromManyGoroutines(t *testing.T) {
	t.Parallel()
	const writers, messages = 100, 8
	k := &Compression{ServerTakeover: true, ClientTakeover: true, ServerWindowBits: 10, ClientWindowBits: 9, Threshold: -1}
	c := dial(t, serve(t, &AcceptOptions{Options: Options{Compression: k}}, echo), &DialOptions{Options: Options{Compression: k}})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range messages {
				if err := writeSomehow(c, i, fmt.Appendf(nil, "%s %d", strings.Repeat(fmt.Sprint(w, " of many "), 20), i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := make([]int, writers)
	for range writers * messages {
		_, message, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var w int
		fmt.Sscan(string(message), &w)
		if !strings.HasSuffix(string(message), fmt.Sprint(" ", next[w])) {
			t.Fatalf("%q, want number %d", message, next[w])
		}
		next[w]++
	}
	wg.Wait()
	if err := c.Close(CloseNormal, ""); err != nil {
		t.Error(err)
	}
}
