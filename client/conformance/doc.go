// Package conformance judges clients of Duplex: whether they do what
// PROTOCOL.md §15 says, whatever the network does. It is for tests.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, &conformance.Agent{Start: startNode})
//	}
//
// Cases are data (cases.go): a network, actions, and what must be seen of the
// client. One runner judges them all, for every client: it owns the server,
// the network in between and a publisher of its own. In some cases the network is
// also one of datagrams, and the server has TLS and HTTP/3 (Case.UDP).
//
// # The agent
//
// A client under test is driven by an agent: a small program, or a func in the
// process of the test, that reads commands, one JSON object per line, and
// writes reports, one per line. It has one client at a time. It ends when its
// input ends. What it writes to standard error goes into the test's log.
//
// An agent does only what it is told. It retries nothing, waits for nothing
// before it takes the next command, and reports everything that its client
// tells it, at once and in that order.
//
// # Commands
//
// "do" says what to do; "ref" is the runner's name for what is begun, and
// comes back in each report about it. Members that are not there are the
// client's defaults.
//
//	{"do":"open","server":"http://127.0.0.1:4711","transports":["sse"],"tokens":["t1","t2"],"remembered":"sse","ca":"PEM"}
//	{"do":"subscribe","ref":"s1","topic":"orders/*","after":"earliest"}
//	{"do":"unsubscribe","ref":"s1"}
//	{"do":"publish","ref":"p1","topic":"a","data":"hello"}
//	{"do":"publish","ref":"p2","topic":"a","data":{"total":12},"event":"paid","key":"k1"}
//	{"do":"publish","ref":"p3","topic":"a","data":"data:image/png;base64,iVBORw0=","binary":true}
//	{"do":"end","ref":"p4","topic":"a"}
//	{"do":"history","ref":"h1","topic":"a","after":"ID","limit":10}
//	{"do":"presence","ref":"h2","topic":"room"}
//	{"do":"status","ref":"q1"}
//	{"do":"transports","transports":["longpoll"]}
//	{"do":"check"}
//	{"do":"close"}
//
// open makes the client. transports are those that it may use, in order of
// preference, and by default all that it has. tokens is what its getToken gives:
// the first call the first, and so on; the last one stays. remembered is
// the transport that worked last for this server; without it, none is
// remembered, whatever an earlier client of this agent has stored. ca is an
// authority to trust beside those of the system.
//
// transports changes what the client may use: it takes over to the first of
// them that works (§15.5). check is what a page does on "online" and "pageshow"
// (§15.6). close closes the client; another open may follow. data is that of
// PROTOCOL.md §7.3: a string is text, anything else JSON.
//
// # Reports
//
//	{"report":"opened"}
//	{"report":"placed","ref":"s1"}
//	{"report":"event","ref":"s1","event":{"id":"k7qx-1041","topic":"orders/7","event":"paid","data":{"total":12},"time":"..."}}
//	{"report":"over","ref":"s1"}
//	{"report":"over","ref":"s1","error":{"status":403,"name":"origin-refused","text":"what a person is told"}}
//	{"report":"answer","ref":"p1","id":"k7qx-1042"}
//	{"report":"answer","ref":"p2","error":{"status":409,"name":"topic-ended","text":"..."}}
//	{"report":"answer","ref":"h1","page":{"events":[...],"cursor":"ID","more":false}}
//	{"report":"answer","ref":"h2","members":[{"member":"ada","verified":false}]}
//	{"report":"answer","ref":"q1","status":{...}}
//	{"report":"status","status":{"state":"connected","transport":"sse","failed":{"websocket":"403 Forbidden"}}}
//	{"report":"closed"}
//
// placed says that a subscription has its place in the log: whatever is
// published from then on is delivered. It comes after the first connection and
// after each loss of it, and may come after a change of transport. event is an
// event, a $gap or a $end in the form of PROTOCOL.md §3.4 and §6.1, as the
// client gives it to its user; $ping is not given. over is the end of a
// subscription: with an error, or without, when its topic has ended or it was
// unsubscribed. error has the status and the name of a problem (§9), if there
// is one, and a text in any case.
//
// status is reported whenever it changes. state is "idle" (no subscriptions),
// "connecting", "connected", "waiting" (for the next attempt) or "closed";
// transport is that of the connection; failed says of the transports that were tried why
// they do not work. closed is the last report of a client.
//
// A command that an agent does not know is answered by
// {"report":"answer","ref":"...","error":{"text":"unsupported"}}; a case that
// needs it fails, unless [Agent].Skip names it with a reason.
package conformance
