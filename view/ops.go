package view

import (
	"context"
	"slices"
	"strconv"

	"github.com/duplexhq/duplex/internal/jsonscan"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// ops carries out what a duplex.v1 client says (PROTOCOL.md §8.4).
type ops struct {
	*session
	answer []byte // reused
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
}

func (o *ops) read(ctx context.Context) {
	for {
		kind, data, err := o.session.read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.Text {
			_ = o.conn.Close(websocket.CloseUnsupportedData, "") // the client is gone if it fails
			return
		}
		op, problem := parseOp(data)
		if problem == nil {
			problem = o.do(ctx, op)
		}
		if problem != nil && o.refuse(ctx, op.ref, problem) != nil {
			return
		}
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
		}
	}
	return o, problem
}

func (o *ops) do(ctx context.Context, op op) *Problem {
	switch op.name {
	case "subscribe":
		return o.subscribe(ctx, op)
	case "unsubscribe":
		return o.unsubscribe(ctx, op)
	case "publish":
		return o.publish(ctx, op)
	case "ping":
		return o.confirm(ctx, op.ref, "")
	}
	return newProblem("bad-parameter", `"op" is none of subscribe, unsubscribe, publish and ping.`)
}

func (o *ops) subscribe(ctx context.Context, op op) *Problem {
	pattern, err := topic.ParsePattern(op.topic)
	if err != nil {
		return problemOf(err)
	}
	name := pattern.String()
	if !slices.Contains(o.names, name) {
		if len(o.names) >= o.handler.opts.MaxSubscriptions {
			return newProblem("too-many-subscriptions", "This connection has "+strconv.Itoa(len(o.names))+" subscriptions already.")
		}
		o.names = append(o.names, name)
	}
	patterns := []topic.Pattern{pattern}
	start, problem := o.handler.start(ctx, &reading{patterns: patterns, after: op.after})
	if problem != nil {
		return problem
	}
	at := start.Asked
	if at == "" {
		at = start.Cursor.String()
	}
	if problem := o.confirm(ctx, op.ref, at); problem != nil {
		return problem
	}
	o.sub.Subscribe(topic.Selection{Name: name, Patterns: patterns, Start: start})
	return nil
}

func (o *ops) unsubscribe(ctx context.Context, op op) *Problem {
	if i := slices.Index(o.names, op.topic); i >= 0 {
		o.names = slices.Delete(o.names, i, i+1)
		o.sub.Unsubscribe(op.topic)
	}
	return o.confirm(ctx, op.ref, "")
}

func (o *ops) publish(ctx context.Context, op op) *Problem {
	if op.data == nil {
		return newProblem("missing-data", `"data" is missing.`)
	}
	if op.key != "" {
		if problem := checkKey(op.key); problem != nil {
			return problem
		}
	}
	draft, err := topic.DraftFromJSON(op.event, op.data)
	if err != nil {
		return problemOf(err)
	}
	if int64(len(draft.Data)) > o.handler.opts.MaxEventBytes {
		return newProblem("too-big", "The event is larger than the server takes.")
	}
	drafts := []topic.Draft{draft}
	id, err := o.handler.hub.Publish(ctx, op.topic, drafts, topic.NewKey(op.key, drafts))
	if err != nil {
		return problemOf(err)
	}
	return o.confirm(ctx, op.ref, id.String())
}

// confirm answers an op that has a ref.
func (o *ops) confirm(ctx context.Context, ref []byte, id string) *Problem {
	if ref == nil {
		return nil
	}
	o.answer = append(o.answer[:0], `{"op":"ok","ref":`...)
	o.answer = append(o.answer, ref...)
	if id != "" {
		o.answer = append(o.answer, `,"id":`...)
		o.answer = append(o.answer, marshal(id)...)
	}
	o.answer = append(o.answer, '}')
	// If it fails, the connection is lost, and the next read says so.
	_ = o.conn.Write(ctx, websocket.Text, o.answer)
	return nil
}

// refuse answers an op that failed, with its ref if it has one.
func (o *ops) refuse(ctx context.Context, ref []byte, p *Problem) error {
	o.answer = append(o.answer[:0], `{"op":"error",`...)
	if ref != nil {
		o.answer = append(o.answer, `"ref":`...)
		o.answer = append(o.answer, ref...)
		o.answer = append(o.answer, ',')
	}
	o.answer = append(p.appendMembers(o.answer), '}')
	return o.conn.Write(ctx, websocket.Text, o.answer)
}
