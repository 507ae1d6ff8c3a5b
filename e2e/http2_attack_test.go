//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What has brought down servers of HTTP/2 is cut off by the built one, costs it
// little memory, and holds up nobody else.
func TestHTTP2Attacks(t *testing.T) {
	s := serve(t, "--h2c", "--memory", "--log-level", "error")
	head := func(list ...string) []byte {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		list = append([]string{":method", "GET", ":scheme", "http", ":authority", s.addr, ":path", "/topics/a?as=sse"}, list...)
		for i := 0; i < len(list); i += 2 {
			_ = e.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1], Sensitive: true})
		}
		return block.Bytes()
	}
	open := func(f *http2.Framer, id uint32, ends bool, block []byte) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: ends, EndHeaders: true})
	}
	get, post := head(), head("content-length", "5")
	bomb := append(append(head(), "\x40\x01a\x7f\xe1\x2e"...), strings.Repeat("x", 6000)...) // into the table: then a byte is 6 KB
	bomb = append(bomb, strings.Repeat("\xbe", 10_000)...)
	for _, attack := range []struct {
		name  string
		reads bool // what comes
		calm  bool // it is cut off with ENHANCE_YOUR_CALM
		once  func(f *http2.Framer, i uint32) error
	}{
		{"rapid reset (CVE-2023-44487)", true, true, func(f *http2.Framer, i uint32) error {
			_ = open(f, 2*i+1, true, get)
			return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}},
		{"MadeYouReset (CVE-2025-8671)", true, true, func(f *http2.Framer, i uint32) error {
			_ = open(f, 2*i+1, false, post)
			return f.WriteWindowUpdate(2*i+1, 0)
		}},
		{"CONTINUATION without an end (CVE-2023-45288)", true, true, func(f *http2.Framer, i uint32) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get, EndStream: true})
			}
			return f.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x00}, 2000))
		}},
		{"PING (CVE-2019-9512)", false, true, func(f *http2.Framer, i uint32) error { return f.WritePing(false, [8]byte{}) }},
		{"SETTINGS (CVE-2019-9515)", false, true, func(f *http2.Framer, i uint32) error { return f.WriteSettings() }},
		{"empty DATA (CVE-2019-9518)", true, true, func(f *http2.Framer, i uint32) error {
			if i == 0 {
				return open(f, 1, false, head(":method", "POST"))
			}
			return f.WriteData(1, false, nil)
		}},
		{"PRIORITY (CVE-2019-9513)", true, true, func(f *http2.Framer, i uint32) error {
			return f.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		}},
		{"window updates", true, true, func(f *http2.Framer, i uint32) error {
			if i == 0 {
				return open(f, 1, true, get)
			}
			return f.WriteWindowUpdate(1, 1)
		}},
		{"an HPACK bomb (CVE-2016-6581)", true, false, func(f *http2.Framer, i uint32) error { return open(f, 2*i+1, true, bomb) }},
		{"unknown frames (CVE-2026-27141)", true, true, func(f *http2.Framer, i uint32) error {
			return f.WriteRawFrame(http2.FrameType(0x0a+i%6), 0xff, i%5, []byte("x"))
		}},
		{"answers that nobody takes (CVE-2019-9517)", false, false, func(f *http2.Framer, i uint32) error {
			if i == 0 {
				_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
				_ = f.WriteWindowUpdate(0, 1<<30)
			}
			return open(f, 2*i+1, true, head(":path", "/"))
		}},
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		f := http2.NewFramer(conn, conn)
		f.AllowIllegalWrites = true
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = f.WriteSettings()
		away := make(chan string, 1)
		if attack.reads {
			go func() { away <- lastWord(f) }()
		}
		sent := uint32(0)
		for ; sent < 50_000 && attack.once(f, sent) == nil; sent++ {
		}
		if !attack.reads {
			away <- lastWord(f)
		}
		// What was still under way may have reset the connection before.
		if got := <-away; attack.calm && !strings.Contains(got, "ENHANCE_YOUR_CALM") && !strings.Contains(got, "reset") && !strings.Contains(got, "broken pipe") {
			t.Errorf("%s: %s after %d", attack.name, got, sent)
		}
		conn.Close()
		if run := start(t, command("curl", "-sS", "--max-time", "10", "--http2-prior-knowledge", "http://"+s.addr+"/healthz")); run.exitCode(t) != 0 || run.stdout.String() != "ok\n" {
			t.Errorf("%s: somebody else: %s%s", attack.name, run.stdout.String(), run.stderr.String())
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var peak int
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	if peak == 0 || peak > 200<<10 {
		t.Errorf("%d kB of memory at most", peak)
	}
	t.Logf("%d kB of memory at most", peak)
}

// lastWord reads until the end, and gives what GOAWAY has said, or how it ended.
func lastWord(f *http2.Framer) (word string) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return word + " " + err.Error()
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			word = away.ErrCode.String() + " " + string(away.DebugData())
		}
	}
}
