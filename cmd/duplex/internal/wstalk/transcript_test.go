package wstalk

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

func TestJSON(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		file := fileOf(t, "what was there before")
		c := s.begin(Options{JSON: true, Record: file, Dial: websocket.DialOptions{Subprotocols: []string{"chess"}}})
		c.say("<a>", "")
		time.Sleep(1500 * time.Millisecond)
		c.say("/binary 00ff", "close 4000 bye")
		if err := c.end(); err == nil || err.Error() != `websocket: closed by peer (4000 "bye")` {
			t.Errorf("ended with %v", err)
		}
		const want = `{"at":0.000000,"type":"open","subprotocol":"chess"}
{"at":0.000000,"direction":"sent","type":"text","data":"<a>"}
{"at":0.000000,"direction":"received","type":"text","data":"<a>"}
{"at":0.000000,"direction":"sent","type":"text","data":""}
{"at":0.000000,"direction":"received","type":"text","data":""}
{"at":1.500000,"direction":"sent","type":"binary","base64":"AP8="}
{"at":1.500000,"direction":"received","type":"binary","base64":"AP8="}
{"at":1.500000,"direction":"sent","type":"text","data":"close 4000 bye"}
{"at":1.500000,"direction":"received","type":"close","code":4000,"reason":"bye"}
{"at":1.500000,"direction":"sent","type":"close","code":4000,"reason":"bye"}
`
		c.out.want(t, want)
		c.notes.want(t, "")
		if record, err := os.ReadFile(file); err != nil || string(record) != want {
			t.Errorf("%v, recorded %s", err, record)
		}
	})
}

// A recording holds secrets.
func TestRecordingIsPrivate(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		file := fileOf(t, "")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.run("", Options{Record: file}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("others can read the recording: %v, %v", info.Mode(), err)
		}
	})
}

func TestFrames(t *testing.T) {
	fragments := func(c *websocket.Conn, _ *http.Request) {
		c.Read(context.Background())
		w, err := c.Writer(context.Background(), websocket.Text)
		if err != nil {
			return
		}
		io.WriteString(w, "in ")
		w.(interface{ Flush() error }).Flush()
		io.WriteString(w, "parts")
		w.Close()
		c.Close(4000, "\x1b")
	}
	bubble(t, fragments, func(t *testing.T, s *server) {
		c := s.begin(Options{Frames: true})
		c.say("/binary 01")
		c.end()
		c.out.want(t, "in parts\n")
		c.notes.want(t, `duplex: connected
0.000000 -> FIN binary masked 1 bytes
0.000000 <- text 3 bytes
0.000000 <- FIN continuation 5 bytes
0.000000 <- FIN close 3 bytes: 4000 "\x1b"
0.000000 -> FIN close masked 3 bytes: 4000 "\x1b"
`)
	})
	bubble(t, fragments, func(t *testing.T, s *server) {
		c := s.begin(Options{Frames: true, JSON: true})
		c.say("/binary 01")
		c.end()
		c.out.want(t, `{"at":0.000000,"type":"open"}
{"at":0.000000,"direction":"sent","type":"binary","base64":"AQ=="}
{"at":0.000000,"direction":"sent","type":"frame","frame":{"fin":true,"opcode":"binary","masked":true,"length":1}}
{"at":0.000000,"direction":"received","type":"frame","frame":{"fin":false,"opcode":"text","masked":false,"length":3}}
{"at":0.000000,"direction":"received","type":"frame","frame":{"fin":true,"opcode":"continuation","masked":false,"length":5}}
{"at":0.000000,"direction":"received","type":"text","data":"in parts"}
{"at":0.000000,"direction":"received","type":"frame","code":4000,"reason":"\u001b","frame":{"fin":true,"opcode":"close","masked":false,"length":3}}
{"at":0.000000,"direction":"received","type":"close","code":4000,"reason":"\u001b"}
{"at":0.000000,"direction":"sent","type":"frame","code":4000,"reason":"\u001b","frame":{"fin":true,"opcode":"close","masked":true,"length":3}}
{"at":0.000000,"direction":"sent","type":"close","code":4000,"reason":"\u001b"}
`)
	})
}

// RFC 7692 §6: the first reserved bit says that a message is compressed.
func TestCompressedFrames(t *testing.T) {
	text := strings.Repeat("again and ", 100)
	for _, compress := range []bool{false, true} {
		bubble(t, echo, func(t *testing.T, s *server) {
			s.opts.Compression = new(websocket.Compression)
			opts := Options{Frames: true}
			sent, received := " -> FIN text masked 1000 bytes\n", " <- FIN text 1000 bytes\n"
			if compress {
				opts.Dial.Compression = new(websocket.Compression)
				sent, received = " -> FIN RSV1 text masked ", " <- FIN RSV1 text "
			}
			_, notes, err := s.run(text+"\n", opts)
			if err != nil || !strings.Contains(notes, sent) || !strings.Contains(notes, received) {
				t.Errorf("compress %v: %v, noted %s", compress, err, notes)
			}
			opts.JSON = true
			out, _, err := s.run(text+"\n", opts)
			if err != nil || compress != strings.Contains(out, `"direction":"sent","type":"frame","frame":{"fin":true,"rsv":[1],"opcode":"text",`) {
				t.Errorf("compress %v: %v, printed %s", compress, err, out)
			}
		})
	}
}

func TestFrameLine(t *testing.T) {
	for _, test := range []struct {
		frame websocket.FrameEvent
		want  string
	}{
		{websocket.FrameEvent{Sent: true, Fin: true, RSV: wire.RSV1 | wire.RSV3, Opcode: wire.Text, Masked: true, Length: 1 << 40}, "-> FIN RSV1 RSV3 text masked 1099511627776 bytes"},
		{websocket.FrameEvent{RSV: wire.RSV2, Opcode: wire.Continuation}, "<- RSV2 continuation 0 bytes"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Ping, Length: 3, Payload: []byte("a\x1bb")}, `<- FIN ping 3 bytes: "a\x1bb"`},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Pong, Length: 2, Payload: []byte{0xff, 1}}, "<- FIN pong 2 bytes: ff 01"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Close}, "<- FIN close 0 bytes"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Close, Length: 1, Payload: []byte{3}}, "<- FIN close 1 bytes"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Close, Length: 3, Payload: []byte{3, 0xe8, 'x'}}, `<- FIN close 3 bytes: 1000 "x"`},
	} {
		if got := newFrameEntry(&test.frame).frameLine(); got != "0.000000 "+test.want+"\n" {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
