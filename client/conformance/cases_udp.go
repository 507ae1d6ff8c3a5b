package conformance

import (
	"time"

	"github.com/duplexhq/duplex/client/conformance/hostile"
)

// overUDP are the cases of WebTransport (PROTOCOL.md §16): of a client that prefers
// it, and has others.
func overUDP() []Case {
	prefer := open("webtransport", "sse", "longpoll")
	begin := []Step{
		prefer, publish("a", 3), subscribe("s", "a", "earliest"), expect(Expect{Ref: "s", N: 3, Within: firstEvent}),
	}
	then := func(steps ...Step) []Step { return append(begin[:len(begin):len(begin)], steps...) }
	over := func(transport string) Step { return expect(connected(transport)) }
	all := []Case{
		{
			Name: "webtransport", Spec: "§16",
			Do: then(
				over("webtransport"),
				publish("a", 300), expect(Expect{Ref: "s", N: 303, Within: 5 * time.Second}),
				subscribe("t", "b/*", "earliest"), publish("b/1", 3), expect(Expect{Ref: "t", N: 3}),
				tell(Command{Do: "publish", Ref: "p1", Topic: "b/1", Data: text("1")}),
				tell(Command{Do: "publish", Ref: "p2", Topic: "b/2", Data: text("2")}),
				expect(Expect{Report: "answer", Ref: "p1"}), expect(Expect{Report: "answer", Ref: "p2"}), expect(Expect{Ref: "t", N: 5}),
				tell(Command{Do: "unsubscribe", Ref: "t"}), expect(Expect{Report: "over", Ref: "t"}),
			),
		},
		{
			Name: "udp: dies and comes back", Spec: "§15.6", Ping: 4 * time.Second,
			Do: then(
				over("webtransport"),
				network(hostile.Network{Datagrams: hostile.Datagrams{Blocked: true}}), publish("a", 10),
				// 1.5 intervals, at most 1.5 s before the next connection, and its way.
				expect(Expect{Ref: "s", N: 13, Within: 7500*time.Millisecond + firstEvent}), over("sse"),
				network(hostile.Network{}), publish("a", 10), expect(Expect{Ref: "s", N: 23}),
			),
		},
		{
			Name: "udp: moves up when it can", Spec: "§15.4", Long: true, Network: hostile.Network{Datagrams: hostile.Datagrams{Blocked: true}},
			Do: then(
				over("sse"), network(hostile.Network{}),
				expect(Expect{State: "connected", Transport: "webtransport", After: 20 * time.Second, Within: 37 * time.Second}),
				publish("a", 10), expect(Expect{Ref: "s", N: 13}),
			),
		},
		{
			Name: "udp: dead link, and nothing else", Spec: "§6.3", Ping: 4 * time.Second,
			Do: []Step{
				open("webtransport"), subscribe("s", "a", "earliest"), expect(Expect{Report: "placed", Ref: "s"}),
				network(hostile.Network{Datagrams: hostile.Datagrams{Blocked: true}}), publish("a", 3),
				expect(Expect{State: "waiting", Within: 6100 * time.Millisecond}),
				network(hostile.Network{}), expect(Expect{Ref: "s", N: 3, Within: 30 * time.Second}),
			},
		},
		{
			Name: "udp: the NAT forgets", Spec: "§16.3",
			Do: then(
				over("webtransport"),
				Step{Rebind: true},
				// The server learns of it by what the client sends.
				tell(Command{Do: "publish", Ref: "p1", Topic: "a", Data: text("1")}), publish("a", 10),
				expect(Expect{Report: "answer", Ref: "p1", Within: 5 * time.Second}), expect(Expect{Ref: "s", N: 14, Within: 5 * time.Second}),
				Step{Rebind: true},
				tell(Command{Do: "publish", Ref: "p2", Topic: "a", Data: text("2")}), publish("a", 10),
				expect(Expect{Report: "answer", Ref: "p2", Within: 5 * time.Second}), expect(Expect{Ref: "s", N: 25, Within: 5 * time.Second}),
				over("webtransport"),
			),
		},
		{
			Name: "udp: the server is killed", Spec: "§15.6", Ping: 4 * time.Second,
			Do: then(
				over("webtransport"),
				Step{Server: Kill}, publish("a", 3), Step{Pause: time.Second}, Step{Server: Start},
				expect(Expect{Ref: "s", N: 6, Within: 7500*time.Millisecond + firstEvent}),
			),
		},
		{
			Name: "udp: the server is drained", Spec: "§12",
			Do: then(
				over("webtransport"),
				Step{Server: Drain}, Step{Server: Start}, publish("a", 3),
				expect(Expect{Ref: "s", N: 6, Within: 6*time.Second + firstEvent}),
			),
		},
		{
			Name: "udp: changes under load", Spec: "§15.5", Network: hostile.Network{RoundTrip: 4 * time.Millisecond, Datagrams: hostile.Datagrams{Late: 20}},
			Do: []Step{
				open("webtransport"), subscribe("s", "load/*", "earliest"), expect(connected("webtransport")),
				{Change: &Change{Times: 60, Transports: []string{"webtransport", "websocket", "sse", "longpoll"}, Topic: "load/1"}},
			},
		},
	}
	for _, n := range []struct {
		hostile.Network
		transport string // "" is any
	}{
		{hostile.Network{Name: "blocked", Datagrams: hostile.Datagrams{Blocked: true}}, "sse"},
		{hostile.Network{Name: "refused, as without HTTP/3", Datagrams: hostile.Datagrams{Refused: true}}, "sse"},
		{hostile.Network{Name: "lossy and out of order", RoundTrip: 40 * time.Millisecond, Datagrams: hostile.Datagrams{Lost: 10, Late: 10}}, ""},
		{hostile.Network{Name: "half is lost", RoundTrip: 40 * time.Millisecond, Datagrams: hostile.Datagrams{Lost: 2}}, ""},
		{hostile.Network{Name: "1 s of latency", RoundTrip: time.Second}, ""},
		{hostile.Network{Name: "1,200 bytes", Datagrams: hostile.Datagrams{MaxBytes: 1200}}, ""},
		{hostile.Network{Name: "less than QUIC needs", Datagrams: hostile.Datagrams{MaxBytes: 1100}}, "sse"},
	} {
		c := Case{Name: "udp: " + n.Name, Spec: "§15.3", Network: n.Network, Do: []Step{
			prefer, publish("a", 3), subscribe("s", "a", "earliest"), expect(Expect{Ref: "s", N: 1, Within: firstEvent + 4*n.RoundTrip}),
		}}
		if n.transport != "" {
			c.Do = append(c.Do, expect(Expect{State: "connected", Transport: n.transport, Failed: "webtransport"}))
		}
		c.Do = append(c.Do, publish("a", 200), expect(Expect{Ref: "s", N: 203, Within: 3 * time.Minute}))
		all = append(all, c)
	}
	for i := range all {
		all[i].UDP = true
	}
	return all
}
