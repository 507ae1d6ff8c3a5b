package load

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
)

// Dialect is how a server is spoken to. What it gives may not depend on the
// number of the message: requests are made once, and numbered in place.
type Dialect struct {
	// Subscribe says how to read topics. After is a cursor that the server has
	// given, or "" for now.
	Subscribe func(via Transport, topics []string, after string) (Subscription, error)
	// Publish says how to publish to a topic.
	Publish func(by Publishing, topic string) (Publication, error)
	// Cursor appends to dst[:0] the cursor after the JSON text that a server
	// has sent, or gives dst if there is none in it. If nil, only an event
	// stream's id is one.
	Cursor func(dst, text []byte) []byte
	// History: the server keeps the events that were published.
	History bool
	// Validators: the cursor of a long-poll is made of its answer's validators,
	// as the header fields of the next request (RFC 9110 §8.8, §13.1).
	Validators bool
}

// Publishing is how events are published.
type Publishing int

const (
	Posts    Publishing = iota // each by an HTTP request
	Batches                    // many by an HTTP request
	Socket                     // over one WebSocket
	inFrames                   // on the subscribers' own connections
)

func (p Publishing) String() string { return [...]string{"post", "batch", "socket", "frames"}[p] }

// Subscription opens a subscription.
type Subscription struct {
	Path   string
	Header string   // more fields, each with its CRLF
	Greet  []string // text messages, sent when a WebSocket is open
	// Ready is in the first text from which on the subscription is there. If
	// it is empty, it is there with the head of the answer.
	Ready string
	// Held is a long-poll that is there once it was asked: it has no answer
	// before there is a message.
	Held bool
	// JSON: messages are strings called "data" in JSON. Else they are all
	// there is.
	JSON bool
	// Heartbeat is a line of a text message that has to be sent back.
	Heartbeat string
}

// Publication is what a message is published with.
type Publication struct {
	Method        string // default POST
	Path          string // of a Socket, that of its handshake
	Header        string // more fields, each with its CRLF
	Before, After string // around the message in the body
}

// Duplex is the dialect of a Duplex server.
var Duplex = &Dialect{Subscribe: duplexSubscribe, Publish: duplexPublish, Cursor: duplexCursor, History: true}

const protocolHeader = "Sec-WebSocket-Protocol: duplex.v1\r\n"

func duplexSubscribe(via Transport, topics []string, after string) (s Subscription, err error) {
	if via == DuplexV1 && len(topics) > 1 {
		s = Subscription{Path: "/topics", Header: protocolHeader, JSON: true}
		for i, topic := range topics {
			ref := fmt.Sprintf(`"ref":%d`, i+1)
			member := ""
			if after != "" {
				member = fmt.Sprintf(`"after":%q,`, after)
			}
			s.Greet = append(s.Greet, fmt.Sprintf(`{"op":"subscribe","topic":%q,%s%s}`, topic, member, ref))
			s.Ready = ref + ","
		}
		return s, nil
	}
	query := url.Values{}
	if after != "" {
		query.Set("after", after)
	}
	s.Path = topicPath(topics[0])
	if len(topics) > 1 {
		s.Path = "/topics"
		query["topic"] = topics
	}
	switch via {
	case WebSocket:
	case DuplexV1:
		s.Header, s.JSON, s.Ready = protocolHeader, true, `"event":"$`
	case SSE:
		s.Header = "Accept: text/event-stream\r\n"
	case Stream:
		s.Header, s.JSON = "Accept: application/x-ndjson\r\n", true
	case LongPoll:
		s.JSON = true
		query.Set("limit", "1000")
		query.Set("wait", "55")
		if after == "" {
			query.Set("wait", "0") // for a first cursor
		}
	default:
		return s, fmt.Errorf("a topic cannot be read as %v", via)
	}
	if len(query) > 0 {
		s.Path += "?" + query.Encode()
	}
	return s, nil
}

func duplexPublish(by Publishing, topic string) (p Publication, err error) {
	switch by {
	case Posts:
		return Publication{Path: topicPath(topic), Header: "Content-Type: text/plain\r\n"}, nil
	case Batches:
		return Publication{
			Path: topicPath(topic) + "?batch", Header: "Content-Type: application/x-ndjson\r\n",
			Before: `{"data":"`, After: "\"}\n",
		}, nil
	case Socket:
		return Publication{
			Path: "/topics", Header: protocolHeader,
			Before: fmt.Sprintf(`{"op":"publish","topic":%q,"data":"`, topic), After: `","ref":1}`,
		}, nil
	}
	return p, fmt.Errorf("cannot publish by %v", by)
}

func topicPath(topic string) string {
	segments := strings.Split(topic, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return "/topics/" + strings.Join(segments, "/")
}

// duplexCursor finds the id of an event, a signal or an answer, or the cursor
// of a page.
func duplexCursor(dst, text []byte) []byte {
	const id, cursor = `{"id":"`, `"cursor":"`
	after, ok := bytes.CutPrefix(text, []byte(id))
	if !ok {
		if i := bytes.LastIndex(text, []byte(cursor)); i >= 0 {
			after, ok = text[i+len(cursor):], true
		}
	}
	if value, _, found := bytes.Cut(after, []byte(`"`)); ok && found {
		return append(dst[:0], value...)
	}
	return dst
}

// Hub is the dialect of a server without topics: what is posted to "/fanout"
// goes to all that read there, by WebSocket or as an event stream.
var Hub = &Dialect{Subscribe: hubSubscribe, Publish: hubPublish}

const hubPath = "/fanout"

func hubSubscribe(via Transport, _ []string, _ string) (Subscription, error) {
	switch via {
	case WebSocket:
		return Subscription{Path: hubPath}, nil
	case SSE:
		return Subscription{Path: hubPath, Header: "Accept: text/event-stream\r\n"}, nil
	}
	return Subscription{}, fmt.Errorf("a hub cannot be read as %v", via)
}

func hubPublish(by Publishing, _ string) (Publication, error) {
	if by != Posts {
		return Publication{}, fmt.Errorf("a hub takes no publishing by %v", by)
	}
	return Publication{Path: hubPath, Header: "Content-Type: text/plain\r\n"}, nil
}

// Requests is the dialect of a handler that does nothing: GET requests, which
// are counted as what is published.
var Requests = &Dialect{
	Subscribe: func(via Transport, _ []string, _ string) (Subscription, error) {
		return Subscription{}, fmt.Errorf("nothing is read as %v there", via)
	},
	Publish: func(by Publishing, _ string) (Publication, error) {
		if by != Posts {
			return Publication{}, fmt.Errorf("nothing is published by %v there", by)
		}
		return Publication{Method: "GET", Path: "/empty"}, nil
	},
}
