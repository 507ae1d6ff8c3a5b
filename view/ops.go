package view

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/duplexhq/duplex/internal/jsonscan"
	"github.com/duplexhq/duplex/topic"
)

// ops carries out what a duplex.v1 client says (PROTOCOL.md §8.4). It belongs to
// who reads from the client.
type ops struct {
	client
	names []string // of the subscriptions
}

// A client is the connection that ops are for.
type client interface {
	// common is what all connections have.
	common() *session
	// frame appends a message as it goes over the connection.
	frame(dst, message []byte) []byte
	// say sends a message. If that fails, the connection is lost, and its end
	// follows.
	say(message []byte)
	// subscribed tells of a subscription that is about to begin, and whether its
	// events may come as datagrams; unsubscribed of one that has ended.
	subscribed(name string, pattern topic.Pattern, datagrams bool)
	unsubscribed(name string)
}

// begin gives the selections that a connection begins with.
func (o *ops) begin(rd *reading, start topic.Start) []topic.Selection {
	var selections []topic.Selection
	for _, p := range rd.patterns {
		selections = append(selections, topic.Selection{Name: p.String(), Patterns: []topic.Pattern{p}, Start: start})
		o.names = append(o.names, p.String())
		o.subscribed(p.String(), p, false)
	}
	return selections
}

// An op is one message of the client. Its slices alias the message.
type op struct {
	name  string
	ref   []byte // a string or a number, as sent; nil if none
	topic string
	after string
	event string
	key   string
	data  []byte // a JSON value; nil if missing

	datagrams bool // of subscribe
}

// take carries out a message, and answers it if it has a ref or a fault.
func (o *ops) take(message []byte) {
	op, problem := parseOp(message)
	if problem == nil {
		problem = o.do(op)
	}
	if problem != nil {
		o.refuse(op.ref, problem)
	}
}

// takeLossy carries out a datagram: it can only publish, and only what nobody
// keeps (PROTOCOL.md §16.4).
func (o *ops) takeLossy(message []byte) {
	op, problem := parseOp(message)
	switch {
	case problem != nil:
	case op.name != "publish":
		problem = newProblem("bad-parameter", "A datagram can only publish.")
	case topic.CheckName(op.topic) == nil && !o.common().handler.hub.Log().Rules().Of(op.topic).Ephemeral():
		problem = newProblem("bad-parameter", "A datagram can only publish to a topic that keeps nothing.")
	default:
		problem = o.publish(op)
	}
	if problem != nil {
		o.refuse(op.ref, problem)
	}
}

// parseOp reads a message. With a problem, the op has its ref if it had one.
func parseOp(data []byte) (op, *Problem) {
	var o op
	var problem *Problem
	for m, err := range jsonscan.Members(data) {
		if err != nil {
			return op{}, newProblem("bad-json", "The message is not a JSON object.")
		}
		var field *string
		switch string(m.Key) {
		case "op":
			field = &o.name
		case "topic":
			field = &o.topic
		case "after":
			field = &o.after
		case "event":
			field = &o.event
		case "key":
			field = &o.key
		case "data":
			o.data = m.Value
		case "datagrams":
			if o.datagrams = string(m.Value) == "true"; !o.datagrams && string(m.Value) != "false" {
				problem = newProblem("bad-parameter", `"datagrams" is neither true nor false.`)
			}
		case "ref":
			if c := m.Value[0]; c != '"' && c != '-' && (c < '0' || c > '9') {
				problem = newProblem("bad-parameter", `"ref" is neither a string nor a number.`)
			} else {
				o.ref = m.Value
			}
		}
		if field == nil {
			continue
		}
		if *field, err = jsonscan.String(m.Value); err != nil {
			problem = newProblem("bad-parameter", strconv.Quote(string(m.Key))+" is not a string.")
		} else if field == &o.key && o.key == "" {
			problem = newProblem("bad-parameter", `"key" is empty.`)
		}
	}
	return o, problem
}

func (o *ops) do(op op) *Problem {
	switch op.name {
	case "subscribe":
		return o.subscribe(op)
	case "unsubscribe":
		o.unsubscribe(op)
	case "publish":
		return o.publish(op)
	case "ping":
		o.confirm(op.ref, "http", versions[o.common().version])
	default:
		return newProblem("bad-parameter", `"op" is none of subscribe, unsubscribe, publish and ping.`)
	}
	return nil
}

func (o *ops) subscribe(op op) *Problem {
	pattern, err := topic.ParsePattern(op.topic)
	if err != nil {
		return problemOf(err)
	}
	s, name := o.common(), pattern.String()
	if len(o.names) >= s.handler.opts.MaxSubscriptions && !slices.Contains(o.names, name) {
		return newProblem("too-many-subscriptions", "This connection has "+strconv.Itoa(len(o.names))+" subscriptions already.")
	}
	patterns := []topic.Pattern{pattern}
	if problem := s.handler.checkPresence(context.Background(), patterns); problem != nil {
		return problem
	}
	start, err := s.handler.start(context.Background(), patterns, "", op.after)
	if err != nil {
		return s.problem(op.topic, err)
	}
	if err := join(s.visit, patterns); err != nil {
		return problemOf(err)
	}
	o.forget(name)
	sel := topic.Selection{Name: name, Patterns: patterns, Start: start}
	if op.ref != nil {
		// By way of the hub: a client takes what follows for the subscription's.
		sel.Opening = o.frame(nil, appendOK(nil, op.ref, "id", cmp.Or(start.Asked, start.Cursor.String())))
	}
	o.names = append(o.names, name)
	o.subscribed(name, pattern, op.datagrams)
	s.sub.Subscribe(sel)
	return nil
}

func (o *ops) unsubscribe(op op) {
	o.forget(op.topic)
	o.common().visit.Leave(op.topic)
	o.confirm(op.ref, "", "")
}

// forget ends a subscription, if there is one of that name. None of its events
// follow.
func (o *ops) forget(name string) {
	if i := slices.Index(o.names, name); i >= 0 {
		o.names = slices.Delete(o.names, i, i+1)
		o.common().sub.Unsubscribe(name)
		o.unsubscribed(name)
	}
}

func (o *ops) publish(op op) *Problem {
	if op.data == nil {
		return newProblem("missing-data", `"data" is missing.`)
	}
	if problem := checkKey(op.key); problem != nil {
		return problem
	}
	draft, err := topic.DraftFromJSON(op.event, slices.Clone(op.data))
	if err != nil {
		return problemOf(err)
	}
	s := o.common()
	if int64(len(draft.Data)) > s.handler.opts.MaxEventBytes {
		return newProblem("too-big", "The event is larger than the server takes.")
	}
	drafts := []topic.Draft{draft}
	id, err := s.handler.hub.Publish(context.Background(), op.topic, drafts, topic.NewKey(op.key, drafts))
	if err != nil {
		return s.problem(op.topic, err)
	}
	o.confirm(op.ref, "id", id.String())
	return nil
}

// appendOK appends the answer to an op that has a ref, with one more member
// unless its name is empty.
func appendOK(dst, ref []byte, name, value string) []byte {
	dst = append(dst, `{"op":"ok","ref":`...)
	dst = append(dst, ref...)
	if name != "" {
		dst = append(dst, `,"`...)
		dst = append(dst, name...)
		dst = append(dst, `":`...)
		dst = append(dst, marshal(value)...)
	}
	return append(dst, '}')
}

// confirm answers an op that has a ref.
func (o *ops) confirm(ref []byte, name, value string) {
	if ref == nil {
		return
	}
	o.say(appendOK(make([]byte, 0, 64), ref, name, value))
}

// refuse answers an op that failed, with its ref if it has one.
func (o *ops) refuse(ref []byte, p *Problem) {
	answer := []byte(`{"op":"error",`)
	if ref != nil {
		answer = append(answer, `"ref":`...)
		answer = append(answer, ref...)
		answer = append(answer, ',')
	}
	o.say(append(p.appendMembers(answer), '}'))
}
