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
	left  int    // entries, with this one
	key   uint64 // the lower, the sooner; not 0
}

// Add begins with the entry of the topic at index, if there is one.
func (m *Merge[T]) Add(t T, index int) {
	left := t.Len() - index
	if index < 0 || left <= 0 {
		return
	}
	if m.Back {
		left = index + 1
	}
	m.heads = append(m.heads, head[T]{t, index, left, m.key(t, index)})
	for i := len(m.heads) - 1; i > 0; {
		parent := (i - 1) / 2
		if m.heads[i].key >= m.heads[parent].key {
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
			if h.key == m.last {
				continue
			}
			if m.last = h.key; !yield(h.topic, h.index) {
				return
			}
		}
		if len(m.heads) == 0 {
			return
		}
		if m.heads[0].key == m.last {
			m.advance()
		}
		for _, h := range m.heads { // what is left of one topic, if anything
			for step := m.step(); h.left > 0 && yield(h.topic, h.index); h.left-- {
				h.index += step
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

func (m *Merge[T]) key(t T, index int) uint64 {
	if m.Back {
		return ^t.Seq(index)
	}
	return t.Seq(index)
}

// advance moves the first head on, and down to its place.
func (m *Merge[T]) advance() {
	h := m.heads[0]
	h.index += m.step()
	if h.left--; h.left > 0 {
		h.key = m.key(h.topic, h.index)
	} else {
		last := len(m.heads) - 1
		h = m.heads[last]
		m.heads = m.heads[:last]
	}
	heads := m.heads
	if len(heads) == 0 {
		return
	}
	i := 0
	for child := 1; child < len(heads); child = 2*i + 1 {
		if right := child + 1; right < len(heads) && heads[right].key < heads[child].key {
			child = right
		}
		if h.key <= heads[child].key {
			break
		}
		heads[i] = heads[child]
		i = child
	}
	heads[i] = h
}
