package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"testing"
)

// PROTOCOL.md §8.2: "A refused publish closes with 1008 and the problem's NAME", also
// if the client's own close follows at once.
func TestRefusedPublishBeforeTheClientsClose(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("secure=", secure), func(t *testing.T) {
			c := &Config{Listen: []string{"127.0.0.1:0"}, MaxEventBytes: 1000}
			if secure {
				c.TLSDevDir = filepath.Join(t.TempDir(), "ca")
			}
			s := start(t, c)
			for range 50 {
				for code, size := range map[uint16]int{1008: 5, 1009: 1001} {
					p := s.dial(t)
					if secure {
						p = connectTLS(t, s, p)
					}
					p.say("GET /topics/* HTTP/1.1\n" + host + handshake + "\n")
					p.wantAnswer(101)
					frames := []byte{0x81, 0x80 | byte(size)}
					if size > 125 {
						frames = binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(size))
					}
					frames = append(frames, make([]byte, 4+size)...)
					frames = append(frames, 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8)
					if _, err := p.Write(frames); err != nil {
						t.Fatal(err)
					}
					answer, _ := io.ReadAll(p.Reader)
					answer = bytes.TrimPrefix(answer, []byte{0x89, 0}) // a ping
					if len(answer) < 4 || answer[0] != 0x88 || binary.BigEndian.Uint16(answer[2:]) != code {
						t.Fatalf("%x, want a close with %d", answer, code)
					}
				}
			}
		})
	}
}
