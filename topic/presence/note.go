package presence

import (
	"context"

	"github.com/duplexhq/duplex/topic"
)

const (
	// noteBytes bounds the names in one note, about.
	noteBytes = 32 << 10
	// departed stands for all nodes that are gone, where a table is told of. None
	// has this name: it is no segment of a topic.
	departed = "*"
)

// A note is what a node tells the others, on its own topic; that it is gone may be
// told by another.
type note struct {
	Since   uint64           `json:"since,omitempty"`   // the node's hello
	Hello   bool             `json:"hello,omitempty"`   // it is new
	Asks    bool             `json:"asks,omitempty"`    // it does not know who is there; in a hello, it wants to be told
	At      uint64           `json:"at,omitempty"`      // to who has asked: a part of the table, as it was here or later
	Holds   map[string]lists `json:"holds,omitempty"`   // which node holds whom; departed: nobody who lives
	Untold  lists            `json:"untold,omitempty"`  // of these, who was not announced
	Answers uint64           `json:"answers,omitempty"` // the hellos up to this one: that was all of the table
	Began   string           `json:"began,omitempty"`   // then, up to where joins and leaves are lost
	Anew    bool             `json:"anew,omitempty"`    // nobody knows who was there before: everybody is new
	Takes   lists            `json:"takes,omitempty"`   // it holds these, too
	Frees   lists            `json:"frees,omitempty"`   // it does not hold these any more
	Gone    bool             `json:"gone,omitempty"`    // it holds nobody after the grace
}

// lists are names of members, by topic.
type lists map[string][]string

func (l lists) each(f func(name, member string)) {
	for name, members := range l {
		for _, m := range members {
			f(name, m)
		}
	}
}

// A draft is a note in the making.
type draft struct {
	note
	bytes int
}

func (d *draft) add(to *lists, name, member string) {
	if *to == nil {
		*to = make(lists)
	}
	(*to)[name] = append((*to)[name], member)
	d.bytes += len(name) + len(member)
}

func (d *draft) addHolder(node string, m *member) {
	if d.Holds == nil {
		d.Holds = make(map[string]lists)
	}
	held := d.Holds[node]
	d.add(&held, m.topic.topic, m.name)
	d.Holds[node] = held
}

// send appends the draft, if there is something in it, and empties it.
func (r *Recorder) send(ctx context.Context, d *draft) error {
	if d.bytes == 0 && d.Answers == 0 && !d.Anew {
		return nil
	}
	r.mu.Lock()
	name := r.nodes.self.name
	d.Since = r.nodes.self.since
	r.mu.Unlock()
	err := r.tell(ctx, name, &d.note, topic.ID{})
	*d = draft{}
	return err
}

// tell appends a note to the node's topic.
func (r *Recorder) tell(ctx context.Context, name string, n *note, seen topic.ID) error {
	_, err := r.append(ctx, nodesPrefix+name, encode(n), seen)
	return err
}

// tellNodes tells the other nodes of what no event tells.
func (r *Recorder) tellNodes(ctx context.Context, quiet []announcement) error {
	var d draft
	for _, a := range quiet {
		for _, m := range a.takes {
			d.add(&d.Takes, a.topic.topic, m.name)
		}
		for _, m := range a.frees {
			d.add(&d.Frees, a.topic.topic, m.name)
		}
		if d.bytes >= noteBytes {
			if err := r.send(ctx, &d); err != nil {
				return err
			}
		}
	}
	return r.send(ctx, &d)
}
