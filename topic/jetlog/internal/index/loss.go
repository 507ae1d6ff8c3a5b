package index

import "github.com/duplexhq/duplex/topic/internal/keep"

// LoseMessage removes all entries of a message, and returns how many there
// were.
func (x *Index) LoseMessage(number uint64) (lost int) {
	var seqs []uint64
	for it := range x.Order.After(0) {
		if it.Live() && it.Value.Message == number && !it.Value.IsEnd() {
			seqs = append(seqs, it.Seq)
		}
	}
	for _, seq := range seqs {
		t := x.TopicOf(x.Order.Find(seq))
		x.removeAt(t, t.After(seq-1))
	}
	return len(seqs)
}

// Missing notes that entries up to seq were lost of topics that nobody knows.
func (x *Index) Missing(seq uint64) {
	if x.Shared == nil {
		x.Clock = max(x.Clock+1, x.End, seq)
	}
	x.newestLost = max(x.newestLost, seq)
	for _, p := range x.policies {
		p.Forgotten = keep.Loss{Seq: max(p.Forgotten.Seq, seq), At: x.Clock}
	}
	for _, t := range x.topics {
		x.lose(t, seq)
	}
}

// lose notes that an entry of a topic was lost, now.
func (x *Index) lose(t *Topic, seq uint64) {
	n := t.losses
	if n == nil {
		n = new(lastLoss)
		t.losses = n
	}
	x.unlist(n)
	x.lost++
	*n = lastLoss{keep.Loss{Seq: max(n.Seq, seq), At: x.Clock}, x.lost}
	x.losses.Push(x.lost, t)
}

func (x *Index) unlist(n *lastLoss) {
	if n.listed > 0 {
		x.losses.Drop(n.listed)
	}
}

// forget removes a topic of which nothing is left.
func (x *Index) forget(t *Topic) {
	if n := t.losses; n != nil {
		f := &t.policy.Forgotten
		*f = keep.Loss{Seq: max(f.Seq, n.Seq), At: max(f.At, n.At)}
		x.unlist(n)
		t.losses = nil
	}
	delete(x.topics, t.name)
	x.Names.Remove(t)
	x.numbered[t.number-1] = nil
	x.free = append(x.free, t.number)
}

// lastLoss is the newest loss of a topic. Several may be of one time, as the messages
// of nodes say it: so they are listed by a number of their own.
type lastLoss struct {
	keep.Loss
	listed uint64 // in Index.losses; 0: not, as what had been forgotten when the topic was new
}

func (t *Topic) lost() keep.Loss {
	if t.losses == nil {
		return keep.Loss{}
	}
	return t.losses.Loss
}
