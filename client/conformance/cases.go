package conformance

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/duplexhq/duplex/client/conformance/hostile"
)

// A Case is a network, what happens, and what must be seen of the client. At
// its end, every subscription that began at "earliest", or at a cursor of no
// place, and still goes on must be given everything that its topics have, each
// event once and in order; and no subscription may ever be given an event twice
// or out of order.
type Case struct {
	Name string
	Spec string // the section of PROTOCOL.md
	hostile.Network

	UDP  bool          // over TLS, and the server has HTTP/3
	Ping time.Duration // interval of $ping. If zero, 25 s
	Do   []Step
	Long bool // on real sockets
}

// A Step is something that happens: one of its fields is set.
type Step struct {
	Tell    *Command         // the agent
	Publish *Publish         // to the server, past the network
	Expect  *Expect          // of the client
	Network *hostile.Network // for connections from now on
	Cut     bool             // all connections of TCP, by reset
	Rebind  bool             // datagrams come from another port
	Server  ServerAct
	Pause   time.Duration
	Change  *Change
}

// Publish has the runner publish to a topic.
type Publish struct {
	Topic string
	N     int
}

// A ServerAct is something that a server does.
type ServerAct string

const (
	Kill  ServerAct = "kill"  // it is gone, and its connections with it
	Drain ServerAct = "drain" // it stops in good order
	Start ServerAct = "start" // it is back, with the same log

	// Freeze lets none of its bytes through any of the present connections, and
	// ends none.
	Freeze ServerAct = "freeze"
)

// Change has the client change its transport again and again, while events are
// published.
type Change struct {
	Times      int
	Transports []string
	Topic      string
	CutEvery   int // so many changes, all connections are cut, if not 0
}

// Expect is what the agent must report, or have reported. On real sockets only
// that it comes is judged, not when.
type Expect struct {
	Report string // with the ref, if there is one
	Ref    string
	N      int // so many events in all, of Ref

	State     string // of the last status
	Transport string // of the last status
	Failed    string // a transport that the last status calls failed

	Status int    // of the error
	Name   string // of the error

	Within time.Duration // since the step before. If zero, at once but for what the network takes: 1 s
	After  time.Duration // and not before
}

func tell(c Command) Step               { return Step{Tell: &c} }
func expect(e Expect) Step              { return Step{Expect: &e} }
func publish(topic string, n int) Step  { return Step{Publish: &Publish{topic, n}} }
func network(n hostile.Network) Step    { return Step{Network: &n} }
func open(transports ...string) Step    { return tell(Command{Do: "open", Transports: transports}) }
func text(s string) json.RawMessage     { return json.RawMessage(`"` + s + `"`) }
func connected(transport string) Expect { return Expect{State: "connected", Transport: transport} }

func subscribe(ref, topic, after string) Step {
	return tell(Command{Do: "subscribe", Ref: ref, Topic: topic, After: after})
}

// beyond stands for a cursor beyond the end of the log, in the epoch that it has.
const beyond = "beyond"

// noPlaces are cursors that have no place in the log: they count as before the first
// event (PROTOCOL.md §4.6).
var noPlaces = []string{beyond, "zzz-5", "nonsense"}

// firstEvent is how long the first event may take, whatever the network does to
// transports (PROTOCOL.md §15.3).
const firstEvent = 3 * time.Second

var httpTransports = []string{"sse", "stream", "longpoll", "poll"}

// Cases are what every client is judged by.
var Cases = cases()

func cases() []Case {
	all := []Case{
		{
			Name: "subscriptions of one client", Spec: "§15.1",
			Do: []Step{
				open(), expect(Expect{Report: "opened"}),
				publish("a/1", 3), publish("b", 3),
				subscribe("s1", "a/*", "earliest"), subscribe("s2", "b", "earliest"), subscribe("s3", "a/1", "earliest"),
				expect(Expect{Ref: "s1", N: 3}), expect(Expect{Ref: "s2", N: 3}), expect(Expect{Ref: "s3", N: 3}),
				publish("a/1", 50), publish("a/2", 50), publish("b", 50),
				expect(Expect{Ref: "s1", N: 103}), expect(Expect{Ref: "s2", N: 53}), expect(Expect{Ref: "s3", N: 53}),
				tell(Command{Do: "unsubscribe", Ref: "s3"}), expect(Expect{Report: "over", Ref: "s3"}),
				publish("a/1", 10),
				expect(Expect{Ref: "s1", N: 113}),
			},
		},
		{
			Name: "now begins with the place", Spec: "§5.2",
			Do: []Step{
				open(), publish("a", 3), subscribe("s", "a", ""), expect(Expect{Report: "placed", Ref: "s"}),
				publish("a", 2), expect(Expect{Ref: "s", N: 2}),
			},
		},
		{
			Name: "the end of a topic", Spec: "§6.5",
			Do: []Step{
				open(), subscribe("s", "a", "earliest"),
				tell(Command{Do: "publish", Ref: "p", Topic: "a", Data: text("last")}), expect(Expect{Report: "answer", Ref: "p"}),
				tell(Command{Do: "end", Ref: "e", Topic: "a"}), expect(Expect{Report: "answer", Ref: "e"}),
				expect(Expect{Report: "over", Ref: "s"}), expect(Expect{Ref: "s", N: 1}),
				tell(Command{Do: "publish", Ref: "p2", Topic: "a", Data: text("late")}),
				expect(Expect{Report: "answer", Ref: "p2", Status: 409, Name: "topic-ended"}),
			},
		},
		{
			Name: "history", Spec: "§5.4",
			Do: []Step{
				open(), publish("a", 3), tell(Command{Do: "history", Ref: "h", Topic: "a", Limit: 2}), expect(Expect{Report: "answer", Ref: "h"}),
			},
		},
		{
			Name: "moves up when it can", Spec: "§15.4", Long: true,
			Network: hostile.Network{Upgrade: hostile.Unheard},
			Do: []Step{
				open(), subscribe("s", "a", "earliest"), expect(Expect{State: "connected", Transport: "sse", Failed: "websocket", Within: firstEvent}),
				publish("a", 10), expect(Expect{Ref: "s", N: 10}),
				network(hostile.Network{}),
				expect(Expect{State: "connected", Transport: "websocket", After: 20 * time.Second, Within: 37 * time.Second}),
				publish("a", 10), expect(Expect{Ref: "s", N: 20}),
			},
		},
		{
			Name: "moves up when it can, much later", Spec: "§15.4", Long: true,
			Network: hostile.Network{Upgrade: hostile.Refused},
			Do: []Step{
				open(), subscribe("s", "a", "earliest"), expect(connected("sse")),
				// Probed after 30, 90 and 210 s, each plus or minus a fifth.
				{Pause: 150 * time.Second}, network(hostile.Network{}),
				expect(Expect{State: "connected", Transport: "websocket", After: time.Second, Within: 102 * time.Second}),
				publish("a", 10), expect(Expect{Ref: "s", N: 10}),
			},
		},
		{
			Name: "WebSockets that do not last", Spec: "§15.4", Network: hostile.Network{CutUpgraded: 700 * time.Millisecond},
			Do: []Step{
				open(), subscribe("s", "a", "earliest"),
				// Twice 700 ms, and waits of at most 1.5 and 3 s.
				expect(Expect{State: "connected", Transport: "sse", Failed: "websocket", After: 1400 * time.Millisecond, Within: 7 * time.Second}),
				publish("a", 10), expect(Expect{Ref: "s", N: 10}),
			},
		},
		{
			Name: "connections that do not last", Spec: "§15.4", Long: true, Network: hostile.Network{CutAfter: 3 * time.Second},
			Do: []Step{
				open(), subscribe("s", "a", "earliest"), expect(connected("websocket")),
				// Two of each streaming transport at most, and waits of at most 1.5 or, as the server says, 4.5 s.
				{Pause: time.Minute}, publish("a", 10), expect(Expect{Ref: "s", N: 10, Within: 3 * time.Second}),
			},
		},
		{
			Name: "begins with the remembered", Spec: "§15.3", Network: hostile.Network{Upgrade: hostile.Swallowed},
			Do: []Step{
				tell(Command{Do: "open", Remembered: "longpoll"}), publish("a", 1), subscribe("s", "a", "earliest"),
				expect(connected("longpoll")), expect(Expect{Ref: "s", N: 1, Within: time.Millisecond}),
			},
		},
		{
			Name: "remembered, and gone", Spec: "§15.3", Network: hostile.Network{Upgrade: hostile.Refused},
			Do: []Step{
				tell(Command{Do: "open", Remembered: "websocket"}), publish("a", 1), subscribe("s", "a", "earliest"),
				expect(connected("sse")), expect(Expect{Ref: "s", N: 1, Within: firstEvent}),
			},
		},
		{
			Name: "the server is killed", Spec: "§15.6",
			Do: []Step{
				open(), publish("a", 3), subscribe("s", "a", "earliest"), expect(Expect{Ref: "s", N: 3}),
				{Server: Kill}, expect(Expect{State: "waiting"}),
				{Pause: 2 * time.Second}, publish("a", 3), {Server: Start},
				expect(Expect{Ref: "s", N: 6, Within: 10 * time.Second}),
			},
		},
		{
			Name: "the server is drained", Spec: "§12",
			Do: []Step{
				open(), publish("a", 3), subscribe("s", "a", "earliest"), expect(Expect{Ref: "s", N: 3}),
				{Server: Drain}, {Server: Start}, publish("a", 3),
				expect(Expect{Ref: "s", N: 6, Within: 6 * time.Second}),
			},
		},
		{
			Name: "check while it waits", Spec: "§15.6",
			Do: []Step{
				open(), publish("a", 1), subscribe("s", "a", "earliest"), expect(Expect{Ref: "s", N: 1}),
				network(hostile.Network{Answer: 503, RetryAfter: "600", Problem: "unavailable"}), {Cut: true},
				expect(Expect{State: "waiting"}), {Pause: 4 * time.Second}, network(hostile.Network{}), publish("a", 1),
				tell(Command{Do: "check"}), expect(Expect{Ref: "s", N: 2, Within: 2 * time.Second}),
			},
		},
		{
			Name: "the server names the time", Spec: "§15.6", Long: true,
			Network: hostile.Network{Answer: 503, RetryAfter: "20", Problem: "unavailable"},
			Do: []Step{
				open(), subscribe("s", "a", "earliest"), expect(Expect{State: "waiting"}),
				network(hostile.Network{}), publish("a", 1),
				expect(Expect{Ref: "s", N: 1, After: 20 * time.Second, Within: 31 * time.Second}),
			},
		},
		{
			Name: "the server refuses", Spec: "§15.6", Network: hostile.Network{Answer: 403, Problem: "origin-refused"},
			Do: []Step{
				open(), subscribe("s", "a", ""),
				expect(Expect{Report: "over", Ref: "s", Status: 403, Name: "origin-refused", Within: firstEvent}),
			},
		},
		{
			Name: "something on the way refuses everything", Spec: "§15.6", Network: hostile.Network{Answer: 403},
			Do: []Step{
				open(), subscribe("s", "a", ""), expect(Expect{Report: "over", Ref: "s", Status: 403, Within: firstEvent}),
			},
		},
		{
			Name: "the token has expired", Spec: "§15.8", Network: hostile.Network{Token: "new"},
			Do: []Step{
				tell(Command{Do: "open", Tokens: []string{"old", "new"}}), publish("a", 1), subscribe("s", "a", "earliest"),
				expect(Expect{Ref: "s", N: 1, Within: firstEvent}),
				network(hostile.Network{Token: "newer"}), {Cut: true},
				expect(Expect{Report: "over", Ref: "s", Status: 401, Within: 10 * time.Second}),
			},
		},
		{
			Name: "published while the server is away", Spec: "§15.7",
			Do: []Step{
				open(), subscribe("s", "a", "earliest"), expect(Expect{Report: "placed", Ref: "s"}), {Server: Kill},
				tell(Command{Do: "publish", Ref: "p1", Topic: "a", Data: text("1")}),
				tell(Command{Do: "publish", Ref: "p2", Topic: "a", Data: json.RawMessage(`{"n":2}`)}),
				tell(Command{Do: "publish", Ref: "p3", Topic: "a", Data: text("3"), Event: "third"}),
				{Pause: time.Second}, {Server: Start},
				expect(Expect{Report: "answer", Ref: "p3", Within: 10 * time.Second}),
				expect(Expect{Ref: "s", N: 3, Within: 10 * time.Second}),
			},
		},
		{
			Name: "published once, though answers are lost", Spec: "§15.7", Network: hostile.Network{CutBytes: 900},
			Do: []Step{
				open("poll"), subscribe("s", "a", "earliest"),
				tell(Command{Do: "publish", Ref: "p1", Topic: "a", Data: text("1")}), tell(Command{Do: "publish", Ref: "p2", Topic: "a", Data: text("2")}),
				tell(Command{Do: "publish", Ref: "p3", Topic: "a", Data: text("3")}), tell(Command{Do: "publish", Ref: "p4", Topic: "a", Data: text("4")}),
				expect(Expect{Report: "answer", Ref: "p4", Within: time.Minute}),
				// Connections that are cut within 5 s count as failures in a row.
				expect(Expect{Ref: "s", N: 4, Within: time.Minute}),
			},
		},
		{
			Name: "a publish that is too big", Spec: "§15.7",
			Do: []Step{
				open(), subscribe("s", "a", "earliest"), expect(connected("websocket")),
				tell(Command{Do: "publish", Ref: "p1", Topic: "a", Data: text("1")}),
				tell(Command{Do: "publish", Ref: "p2", Topic: "a", Data: text(strings.Repeat("x", 3<<20))}),
				tell(Command{Do: "publish", Ref: "p3", Topic: "a", Data: text("3")}),
				expect(Expect{Report: "answer", Ref: "p2", Status: 413, Name: "too-big"}),
				expect(Expect{Report: "answer", Ref: "p3"}), expect(Expect{Ref: "s", N: 2}),
				expect(connected("websocket")), {Pause: time.Second}, // as long as a server waits to close what it has not read
			},
		},
		{
			Name: "cut every 30 s", Spec: "§15.6", Long: true, Network: hostile.Network{CutAfter: 30 * time.Second},
			Do: []Step{
				open(), subscribe("s", "a", "earliest"),
				{Pause: 25 * time.Second}, publish("a", 5), {Pause: 25 * time.Second}, publish("a", 5), {Pause: 25 * time.Second}, publish("a", 5),
				expect(Expect{Ref: "s", N: 15, Within: 7 * time.Second}),
			},
		},
	}
	for _, n := range hostile.Networks {
		limit := firstEvent + n.RoundTrip // the handshake, which subscribes
		if n.BytesPerSecond > 0 {
			limit += 6 * time.Second // a handshake and three events are about 2 kB
		}
		c := Case{Name: "network: " + n.Name, Spec: "§15.3", Network: n.Network, Do: []Step{
			open(), publish("a", 3), subscribe("s", "a", "earliest"), expect(Expect{Ref: "s", N: 1, Within: limit}),
		}}
		if n.Transport != "" {
			c.Do = append(c.Do, expect(connected(n.Transport)))
		}
		c.Do = append(c.Do, publish("a", 20), expect(Expect{Ref: "s", N: 23, Within: 60 * time.Second}))
		all = append(all, c)
	}
	for _, transport := range append([]string{"websocket"}, httpTransports...) {
		all = append(all, Case{
			Name: "only " + transport, Spec: "§15.1", Do: []Step{
				open(transport), publish("a", 3), subscribe("s", "a", "earliest"),
				expect(connected(transport)), expect(Expect{Ref: "s", N: 3}),
				publish("a", 300), expect(Expect{Ref: "s", N: 303, Within: 5 * time.Second}),
				{Cut: true}, publish("a", 10), expect(Expect{Ref: "s", N: 313, Within: 10 * time.Second}),
			},
		})
		all = append(all, Case{
			Name: "the end of one of several topics by " + transport, Spec: "§6.5", Do: []Step{
				open(transport), publish("a", 3), subscribe("s", "a", "earliest"), subscribe("t", "b", "earliest"),
				expect(Expect{Ref: "s", N: 3}), expect(Expect{Report: "placed", Ref: "t"}),
				tell(Command{Do: "end", Ref: "e", Topic: "a"}), expect(Expect{Report: "answer", Ref: "e"}),
				expect(Expect{Report: "over", Ref: "s", Within: 2 * time.Second}),
				publish("b", 3), expect(Expect{Ref: "t", N: 3, Within: 3 * time.Second}),
			},
		})
		for i, cursor := range noPlaces {
			all = append(all, Case{
				Name: []string{"a cursor beyond the log", "a cursor of another log", "no cursor at all"}[i] + " by " + transport, Spec: "§4.6", Do: []Step{
					open(transport), publish("a", 3), subscribe("s", "a", cursor),
					expect(Expect{Ref: "s", N: 3}), publish("a", 3), expect(Expect{Ref: "s", N: 6, Within: 3 * time.Second}),
					{Cut: true}, publish("a", 3), expect(Expect{Ref: "s", N: 9, Within: 10 * time.Second}),
				},
			})
		}
		all = append(all, Case{
			Name: "one of several is refused by " + transport, Spec: "§15.6", Do: []Step{
				open(transport), publish("a", 3), subscribe("s", "$presence/a", ""), subscribe("t", "a", "earliest"),
				expect(Expect{Report: "over", Ref: "s", Status: 404, Name: "presence-off", Within: firstEvent}),
				expect(Expect{Ref: "t", N: 3, Within: firstEvent}),
				publish("a", 3), expect(Expect{Ref: "t", N: 6, Within: 3 * time.Second}),
			},
		})
		if transport == "websocket" || transport == "sse" || transport == "stream" {
			all = append(all, Case{
				Name: "dead link by " + transport, Spec: "§6.3", Ping: 4 * time.Second,
				Do: []Step{
					open(transport), subscribe("s", "a", "earliest"), expect(Expect{Report: "placed", Ref: "s"}),
					network(hostile.Network{}), {Server: Freeze}, publish("a", 1),
					// 1.5 intervals, and at most 1.5 s before the next connection.
					expect(Expect{Ref: "s", N: 1, Within: 7500 * time.Millisecond}),
				},
			})
		}
	}
	all = append(all, overUDP()...)
	return append(all, Case{
		Name: "changes and cuts under load", Spec: "§15.5", Long: true,
		Network: hostile.Network{RoundTrip: 4 * time.Millisecond},
		Do: []Step{
			open("websocket"), subscribe("s", "load/*", "earliest"), subscribe("t", "load/1", "earliest"), expect(connected("websocket")),
			{Change: &Change{Times: 100, Transports: append([]string{"websocket"}, httpTransports...), Topic: "load/1", CutEvery: 3}},
		},
	}, Case{
		Name: "500 changes under load", Spec: "§15.5",
		Network: hostile.Network{RoundTrip: 4 * time.Millisecond}, // so that events are under way while it changes
		Do: []Step{
			open("websocket"), subscribe("s", "load/*", "earliest"), expect(connected("websocket")),
			{Change: &Change{Times: 500, Transports: append([]string{"websocket"}, httpTransports...), Topic: "load/1"}},
		},
	})
}
