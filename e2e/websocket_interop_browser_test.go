//go:build e2e

package e2e

import (
	"net/http/httptest"
	"testing"
)

// Chromium compresses all that it sends once permessage-deflate is agreed on,
// and opens WebSockets over the HTTP/2 connection of the page if that offers
// them (RFC 8441).
func TestBrowserWebSocketPeer(t *testing.T) {
	for version, begin := range map[string]func(*httptest.Server){"HTTP/1.1": (*httptest.Server).StartTLS, "HTTP/2.0": startHTTP2} {
		for form, compression := range compressions {
			t.Run(version+" "+form, func(t *testing.T) {
				s := newEchoServer(t, compression, begin)
				converseInBrowser(newTab(t, s.URL+"/page"), compression != nil)
				s.checkEnds(version, `1005 ""`)
				s.traffic.check(t, compression != nil, compression != nil, false)
			})
		}
	}
}

func converseInBrowser(p *tab, compressed bool) {
	p.run(connect)
	open := func() {
		p.t.Helper()
		p.run(`heard = []; ending = null`)
		check(p, `connect("/", "unknown", "echo")`, true)
		check(p, `socket.protocol`, "echo")
		check(p, `socket.extensions.startsWith("permessage-deflate")`, compressed)
	}
	closed := func(want string) {
		p.t.Helper()
		p.until(`ending`)
		check(p, `JSON.stringify(ending)`, want)
	}

	open()
	p.run(`for (const text of ["grüße 🦫", "", "ü".repeat(1 << 19), "again and ".repeat(1000)]) socket.send(text)`)
	p.until(`heard.length === 4`)
	check(p, `heard[0] === "grüße 🦫" && heard[1] === "" && heard[2] === "ü".repeat(1 << 19) && heard[3] === "again and ".repeat(1000)`, true)

	p.run(`socket.send(new Blob([Uint8Array.of(0, 255, 128)]))`)
	p.until(`heard.length === 5`)
	check(p, `heard[4] instanceof Blob && heard[4].arrayBuffer().then((got) => new Uint8Array(got).join())`, "0,255,128")

	p.run(`socket.binaryType = "arraybuffer"; noise = new Uint8Array(1 << 20);
		for (let i = 0; i < noise.length; i += 1 << 16) crypto.getRandomValues(noise.subarray(i, i + (1 << 16)));
		socket.send(noise.buffer)`)
	p.until(`heard.length === 6`)
	check(p, `heard[5] instanceof ArrayBuffer && new Uint8Array(heard[5]).every((b, i) => b === noise[i]) && heard[5].byteLength`, 1<<20)

	p.run(`socket.send("fragments"); socket.send("ping")`)
	p.until(`heard.length === 8`)
	check(p, `heard[6] + heard[7]`, "fragmentspong")
	p.run(`socket.close(4001, "enough €")`)
	closed(`[4001,"enough €",true]`)

	open()
	p.run(`socket.send("close 4002 bye €")`)
	closed(`[4002,"bye €",true]`)

	open()
	p.run(`socket.close()`)
	closed(`[1005,"",true]`)
	p.checkQuiet()
}
