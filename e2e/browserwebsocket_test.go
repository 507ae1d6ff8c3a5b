//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// connect is a script that opens a WebSocket and notes what comes of it.
const connect = `heard = []; ending = null;
connect = (url, ...protocols) => {
	window.socket = new WebSocket(url, protocols);
	socket.onmessage = (e) => heard.push(e.data);
	socket.onclose = (e) => ending = [e.code, e.reason, e.wasClean];
	return new Promise((done) => { socket.onopen = () => done(true); socket.onerror = () => done(false); });
};`

// Text and binary messages, both ways (PROTOCOL.md §8.2).
func TestBrowserWebSocket(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	p := newTab(t, f.url+"/page")
	p.run(connect)
	check(p, `connect("/topics/room")`, true)
	check(p, `[socket.protocol, socket.extensions, socket.binaryType].join("|")`, "|permessage-deflate; server_no_context_takeover; client_no_context_takeover|blob")
	p.run(`socket.send("grüße 🦫")`)
	p.until(`heard.length === 1`)
	check(p, `heard[0]`, "grüße 🦫")

	p.run(`socket.send(new Blob([Uint8Array.of(0, 255, 128)]))`)
	p.until(`heard.length === 2`)
	check(p, `(async () => heard[1] instanceof Blob && new Uint8Array(await heard[1].arrayBuffer()).join())()`, "0,255,128")

	// Larger than one frame of any browser: 300 KiB, there and back.
	p.run(`socket.binaryType = "arraybuffer"
		sent = crypto.getRandomValues(new Uint8Array(60 << 10)); sent = Uint8Array.from({ length: 300 << 10 }, (_, i) => sent[i % sent.length] ^ (i >> 16));
		socket.send(sent.buffer)`)
	p.until(`heard.length === 3`)
	check(p, `heard[2] instanceof ArrayBuffer && new Uint8Array(heard[2]).every((b, i) => b === sent[i]) && heard[2].byteLength`, 300<<10)

	s.publish(t, "room", "", "application/json", `{"n": [1, 2]}`)
	p.until(`heard.length === 4`)
	check(p, `JSON.parse(heard[3]).n[1]`, 2)
	s.publish(t, "room", "", "image/png", "\x89PNG")
	p.until(`heard.length === 5`)
	check(p, `new Uint8Array(heard[4]).join()`, "137,80,78,71")
	s.publish(t, "room", "", "text/plain", "")
	p.until(`heard.length === 6`)
	check(p, `heard[5]`, "")
	p.run(`socket.close(1000, "bye")`)
	p.until(`ending`)
	check(p, `JSON.stringify(ending)`, `[1000,"bye",true]`)
	p.checkQuiet()
}

// How connections end (PROTOCOL.md §8.8).
func TestBrowserCloseCodes(t *testing.T) {
	s := serve(t, "--retain-events", "5", "--max-event-bytes", "1KiB")
	f := newFront(t, s.url)
	p := newTab(t, f.url+"/page")
	p.run(connect)
	closes := func(want string) {
		t.Helper()
		p.until(`ending`)
		check(p, `JSON.stringify(ending)`, want)
		p.run(`ending = null; heard = []`)
	}

	first := s.publish(t, "busy", "", "text/plain", "evicted")
	ids := make([]string, 10)
	for i := range ids {
		ids[i] = s.publish(t, "busy", "", "text/plain", fmt.Sprint(i))
	}
	oldest := s.page(t, "busy", "?after=earliest").Events[0].ID
	if oldest == first {
		t.Fatal("nothing was evicted")
	}
	// 4410 "with the oldest id as reason", before any event.
	check(p, `connect("/topics/busy?after=`+first+`")`, true)
	closes(`[4410,"` + oldest + `",true]`)
	check(p, `connect("/topics/busy?after=never-given-by-anybody")`, true)
	closes(`[4410,"` + oldest + `",true]`)

	// With an envelope the gap is a signal and the rest follows.
	check(p, `connect("/topics/busy?envelope&after=`+first+`")`, true)
	p.until(`heard.length === 6`)
	check(p, `heard.map((h) => JSON.parse(h)).map((e) => e.event ?? e.data).join()`, "$gap,5,6,7,8,9")
	check(p, `JSON.parse(heard[0]).data.oldest`, oldest)
	p.run(`socket.close()`)
	closes(`[1005,"",true]`)

	// Refused publishes.
	check(p, `connect("/topics/busy/*")`, true)
	p.run(`socket.send("to a pattern")`)
	closes(`[1008,"bad-topic",true]`)
	check(p, `connect("/topics/busy")`, true)
	p.run(`socket.send("x".repeat(1025))`)
	closes(`[1009,"too-big",true]`)
	check(p, `connect("/topics", "duplex.v1")`, true)
	p.run(`socket.send(new Uint8Array(1))`)
	closes(`[1003,"",true]`)

	// The end of the topic, for who is there and for who comes later.
	check(p, `connect("/topics/room")`, true)
	s.publish(t, "room", "?end", "text/plain", "last words")
	p.until(`heard.length === 1`)
	check(p, `heard[0]`, "last words")
	closes(`[1000,"end",true]`)
	check(p, `connect("/topics/room")`, true)
	closes(`[1000,"end",true]`)

	// The end of the server.
	check(p, `connect("/topics", "chat", "duplex.v1")`, true)
	check(p, `socket.protocol`, "duplex.v1")
	s.terminate(t)
	closes(`[1001,"shutting-down",true]`)
}

// Many topics on one connection (PROTOCOL.md §8.3).
func TestBrowserSubprotocol(t *testing.T) {
	s := serve(t)
	p := newTab(t, newFront(t, s.url).url+"/page")
	p.run(connect)
	check(p, `connect("/topics?topic=a&topic=b/**", "duplex.v1")`, true)
	p.until(`heard.length === 1`)
	check(p, `JSON.parse(heard[0]).event`, "$ping")
	p.run(`socket.send('{"op":"publish","topic":"b/c","event":"paid","data":{"n":1},"ref":"r"}')`)
	p.until(`heard.length === 3`)
	check(p, `heard.map((h) => JSON.parse(h)).find((m) => m.op === "ok").ref`, "r")
	check(p, `JSON.stringify((({ topic, event, data }) => [topic, event, data])(heard.map((h) => JSON.parse(h)).find((m) => m.topic)))`, `["b/c","paid",{"n":1}]`)
	p.run(`socket.send('{"op":"publish","topic":"$x","data":"hi","ref":3}')`)
	p.until(`heard.length === 4`)
	check(p, `JSON.stringify((({ op, ref, status }) => [op, ref, status])(JSON.parse(heard[3])))`, `["error",3,403]`)
	// Several topics need the subprotocol (§8.3): refused before the 101.
	check(p, `connect("/topics?topic=a&topic=b")`, false)
}

// Pages of other origins can neither publish nor read, unless they are allowed
// to (PROTOCOL.md §10).
func TestCrossOrigin(t *testing.T) {
	const attempts = `
		refused = (promise) => promise.then((r) => r.type === "opaque" ? "opaque" : String(r.status), () => "refused");
		tried = (async (topic) => ({
			post: await refused(fetch(topic, { method: "POST", body: "post" })),
			json: await refused(fetch(topic, { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } })),
			blind: await refused(fetch(topic, { method: "POST", body: "blind", mode: "no-cors" })),
			end: await refused(fetch(topic, { method: "DELETE" })),
			read: await refused(fetch(topic)),
			websocket: await new Promise((done) => {
				const socket = new WebSocket(topic.replace("http", "ws"));
				socket.onopen = () => { done("open"); socket.close(); };
				socket.onclose = ({ code }) => done(String(code));
			}),
			stream: await new Promise((done) => {
				const source = new EventSource(topic);
				source.onopen = () => { done("open"); source.close(); };
				source.onerror = () => { done("refused"); source.close(); };
			}),
		}))`
	evil := newFront(t, "http://127.0.0.1:0") // a site of its own
	type outcome struct{ Post, JSON, Blind, End, Read, Websocket, Stream string }

	t.Run("refused", func(t *testing.T) {
		s := serve(t)
		p := newTab(t, evil.url+"/page")
		got := evaluate[outcome](p, attempts+`(`+quote(s.topic("room"))+`)`)
		want := outcome{"refused", "refused", "opaque", "refused", "refused", "1006", "refused"}
		if got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
		if page := s.page(t, "room", ""); len(page.Events) > 0 || page.End {
			t.Errorf("it was done all the same: %+v", page)
		}
	})
	t.Run("allowed", func(t *testing.T) {
		s := serve(t, "--allow-origin", evil.url)
		p := newTab(t, evil.url+"/page")
		got := evaluate[outcome](p, attempts+`(`+quote(s.topic("room"))+`)`)
		want := outcome{"201", "201", "opaque", "204", "200", "open", "open"}
		want.Stream = "refused" // 204: the topic has ended
		if got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
		page := s.page(t, "room", "")
		if len(page.Events) != 3 || !page.End {
			t.Errorf("%+v", page)
		}
		got = evaluate[outcome](p, strings.Replace(attempts, "DELETE", "GET", 1)+`(`+quote(s.topic("other"))+`)`)
		if want := (outcome{"201", "201", "opaque", "200", "200", "open", "open"}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
		p = newTab(t, newFront(t, "http://127.0.0.1:0").url+"/page") // who is not named
		got = evaluate[outcome](p, attempts+`(`+quote(s.topic("third"))+`)`)
		if want := (outcome{"refused", "refused", "opaque", "refused", "refused", "1006", "refused"}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
}
