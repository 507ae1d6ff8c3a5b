package conformance

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"testing"
)

// A Command is what the runner tells an agent: see the package comment.
type Command struct {
	Do         string          `json:"do"`
	Ref        string          `json:"ref,omitempty"`
	Server     string          `json:"server,omitempty"`
	Transports []string        `json:"transports,omitempty"`
	Tokens     []string        `json:"tokens,omitempty"`
	Remembered string          `json:"remembered,omitempty"`
	CA         string          `json:"ca,omitempty"`
	Topic      string          `json:"topic,omitempty"`
	After      string          `json:"after,omitempty"`
	Limit      int             `json:"limit,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	Binary     bool            `json:"binary,omitempty"`
	Event      string          `json:"event,omitempty"`
	Key        string          `json:"key,omitempty"`
}

// A Report is what an agent tells the runner.
type Report struct {
	Report  string          `json:"report"`
	Ref     string          `json:"ref,omitempty"`
	Event   json.RawMessage `json:"event,omitempty"`
	ID      string          `json:"id,omitempty"`
	Page    json.RawMessage `json:"page,omitempty"`
	Members json.RawMessage `json:"members,omitempty"`
	Status  *Status         `json:"status,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

// A Status is how a client says that it is.
type Status struct {
	State     string            `json:"state"`
	Transport string            `json:"transport,omitempty"`
	Failed    map[string]string `json:"failed,omitempty"`
}

// An Error is why something failed.
type Error struct {
	Status int    `json:"status,omitempty"`
	Name   string `json:"name,omitempty"`
	Text   string `json:"text"`
}

// An Agent is a client under test.
type Agent struct {
	// Start starts the agent, for one case. It ends when in is closed, and then
	// closes out; what belongs to it ends with the test.
	Start func(t testing.TB, network Network) (in io.WriteCloser, out io.Reader)

	// InBubble says that the agent lives in the process of the test and reaches
	// the server by the Network that it is given: it is judged in a
	// testing/synctest bubble, where times are exact.
	InBubble bool

	// Skip names cases that the client cannot pass, with the reason.
	Skip map[string]string
}

// A Network connects to the server of a case. On real sockets it is empty: the
// server's address says everything.
type Network struct {
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// OpenUDP opens a socket for datagrams to the server.
	OpenUDP func(ctx context.Context, to netip.AddrPort) (net.PacketConn, error)
}
