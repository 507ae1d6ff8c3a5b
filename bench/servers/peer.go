//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// peer is a server that can be measured.
type peer struct {
	name    string
	kind    kind
	find    func(*paths) error    // says why it is not there; nil: it always is
	version func(*paths) []string // command that tells its version
	launch  func(*place) (rig.Launch, error)
	dialect *load.Dialect
	// The transports that it has, with what is added to its name for them.
	transports []variant
	by         []load.Publishing
	// publishers is how many it needs in a closed loop to show what it can.
	publishers int
	topic      string // if it keeps no history
	history    string // topic with history, if it has another name
}

type kind int

const (
	other kind = iota
	ours
	theFloor
)

type variant struct {
	via     load.Transport
	suffix  string
	resumes bool // a client can go on where it was
}

// entry is a peer that takes part in a work, over one transport.
type entry struct {
	label string
	peer  *peer
	via   load.Transport
}

// entries gives those of a work.
func (p *peer) entries(w *work) (entries []entry) {
	if w.takes != nil && !w.takes(p) || p.name == nameCoalescing && !w.burst {
		return nil
	}
	if len(w.transports) == 0 {
		return []entry{{p.name, p, load.SSE}}
	}
	for _, v := range p.transports {
		if slices.Contains(w.transports, v.via) && (v.resumes || !w.resumes) {
			entries = append(entries, entry{p.name + v.suffix, p, v.via})
		}
	}
	return entries
}

func (p *peer) topicFor(w *work) string {
	if w.history && p.history != "" {
		return p.history
	}
	return p.topic
}

// Names that targets speak of.
const (
	nameOurs       = "duplex"
	nameV1         = nameOurs + ", duplex.v1"
	nameFloor      = "floor"
	nameCoalescing = "coalescing floor"
	nameEmpty      = "empty handler"
	nameCentrifugo = "centrifugo"
	nameMercure    = "mercure"
	nameNchan      = "nchan"
)

// peers gives all of them, in the order of the tables.
func peers() []*peer {
	posts := []load.Publishing{load.Posts}
	both := []variant{{via: load.SSE}, {via: load.WebSocket}}
	list := []*peer{
		{
			name: nameFloor, kind: theFloor, dialect: load.Hub, topic: "t", transports: both, by: posts,
			launch: func(p *place) (rig.Launch, error) { return launchFloor(p), nil },
		},
		{
			name: nameCoalescing, kind: theFloor, dialect: load.Hub, topic: "t", transports: both, by: posts, publishers: 16,
			launch: func(p *place) (rig.Launch, error) { return launchFloor(p, "-coalesce"), nil },
		},
		{
			name: nameOurs, kind: ours, dialect: load.Duplex, topic: "t",
			transports: []variant{
				{load.SSE, "", true}, {load.WebSocket, "", true}, {load.LongPoll, "", true},
				{load.DuplexV1, ", duplex.v1", true}, {load.Stream, ", stream", true},
			},
			by: []load.Publishing{load.Posts, load.Batches, load.Socket},
			launch: func(p *place) (rig.Launch, error) {
				return rig.Launch{
					Path: p.paths.duplex, Args: []string{"serve", "--listen", "127.0.0.1:0", "--memory", "--log-level", "warn"},
					Announce: "listens on http://",
				}, nil
			},
		},
		{
			name: nameEmpty, dialect: load.Requests, topic: "t", by: posts,
			launch: library("net/http"),
		},
		{
			name: "net/http", dialect: load.Hub, topic: "t", by: posts, transports: []variant{{via: load.SSE}},
			launch: library("net/http"),
		},
	}
	for _, name := range []string{"gorilla", "coder", "gws"} {
		list = append(list, &peer{
			name: name, dialect: load.Hub, topic: "t", by: posts, transports: []variant{{via: load.WebSocket}},
			launch: library(name),
		})
	}
	return append(list, centrifugo(), mercure(), nchan())
}

func launchFloor(p *place, args ...string) rig.Launch {
	args = append([]string{"-work", "hub", "-listen", "127.0.0.1:0"}, args...)
	if p.work.allCores {
		args = append(args, "-threads", "2")
	}
	return rig.Launch{Path: p.programs.Path("floor"), Args: args, Announce: "listening on "}
}

// library launches a hub that is made with a library.
func library(name string) func(*place) (rig.Launch, error) {
	return func(p *place) (rig.Launch, error) {
		return rig.Launch{Path: p.programs.Path("server"), Args: []string{"-lib", name, "-listen", "127.0.0.1:0"}, Announce: "listening on "}, nil
	}
}

// lookFor gives the path of a program that was named or is in PATH.
func lookFor(path *string, name string) error {
	if *path == "" {
		found, err := exec.LookPath(name)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			return fmt.Errorf("there is no %s in PATH, and -%[1]s does not say where it is", name)
		}
		*path = found
	}
	_, err := os.Stat(*path)
	return err
}
