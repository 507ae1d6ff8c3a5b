package keep

import "iter"

// A Merge goes through several topics in the order of the log: a heap of their
// next entries. A topic that was added twice counts once.
type Merge[T Topic] struct {
	Back bool // from the newest to the oldest

	heads []head[T]
	last  uint64
}

// A Topic has the entries of one topic, oldest first.
type Topic interface {
	Len() int
	Seq(i int) uint64 // the number of an entry, from 1 on
}

// head stands at an entry of a topic.
type head[T Topic] struct {
	topic T
	index int
	seq   uint64
}

// Add begins with the entry of the topic at index, if there is one.
func (m *Merge[T]) Add(t T, index int) {
	if index < 0 || index >= t.Len() {
		return
	}
	m.heads = append(m.heads, head[T]{t, index, t.Seq(index)})
	for i := len(m.heads) - 1; i > 0; {
		parent := (i - 1) / 2
		if !m.less(i, parent) {
			break
		}
		m.heads[i], m.heads[parent] = m.heads[parent], m.heads[i]
		i = parent
	}
}

// All yields the entries: the topic of each, and the index there. It ends the
// merge.
func (m *Merge[T]) All() iter.Seq2[T, int] {
	return func(yield func(T, int) bool) {
		for len(m.heads) > 1 {
			h := m.heads[0]
			m.advance()
			if h.seq == m.last {
				continue
			}
			if m.last = h.seq; !yield(h.topic, h.index) {
				return
			}
		}
		if len(m.heads) == 0 {
			return
		}
		if m.heads[0].seq == m.last {
			m.advance()
		}
		for _, h := range m.heads { // what is left of one topic, if anything
			for step := m.step(); h.index >= 0 && h.index < h.topic.Len() && yield(h.topic, h.index); h.index += step {
			}
		}
	}
}

func (m *Merge[T]) step() int {
	if m.Back {
		return -1
	}
	return 1
}

func (m *Merge[T]) less(i, j int) bool {
	a, b := m.heads[i].seq, m.heads[j].seq
	if m.Back {
		return a > b
	}
	return a < b
}

// advance moves the first head on, and down to its place.
func (m *Merge[T]) advance() {
	h := &m.heads[0]
	h.index += m.step()
	if h.index >= 0 && h.index < h.topic.Len() {
		h.seq = h.topic.Seq(h.index)
	} else {
		last := len(m.heads) - 1
		*h = m.heads[last]
		m.heads = m.heads[:last]
	}
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heads); child++ {
			if m.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heads[i], m.heads[least] = m.heads[least], m.heads[i]
		i = least
	}
}
