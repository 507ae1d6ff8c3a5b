package jetlog

// merge goes through several topics in the order of the log: a heap of their
// next entries. A topic that was added twice counts once.
type merge struct {
	back  bool // from the newest to the oldest
	heads []head
	last  uint64
}

// head stands at an entry of a topic.
type head struct {
	topic *topicLog
	index int
	seq   uint64
}

// add begins with the entry of the topic at index, if there is one.
func (m *merge) add(t *topicLog, index int) {
	if index < 0 || index >= len(t.seqs) {
		return
	}
	m.heads = append(m.heads, head{t, index, t.seqs[index]})
	for i := len(m.heads) - 1; i > 0; {
		parent := (i - 1) / 2
		if !m.less(i, parent) {
			break
		}
		m.heads[i], m.heads[parent] = m.heads[parent], m.heads[i]
		i = parent
	}
}

func (m *merge) less(i, j int) bool {
	a, b := m.heads[i].seq, m.heads[j].seq
	if m.back {
		return a > b
	}
	return a < b
}

// next returns 0 at the end.
func (m *merge) next() (uint64, *topicLog) {
	for len(m.heads) > 0 {
		seq, t := m.heads[0].seq, m.heads[0].topic
		m.advance()
		if seq != m.last {
			m.last = seq
			return seq, t
		}
	}
	return 0, nil
}

// advance moves the first head on, and down to its place.
func (m *merge) advance() {
	h := &m.heads[0]
	if m.back {
		h.index--
	} else {
		h.index++
	}
	if h.index >= 0 && h.index < len(h.topic.seqs) {
		h.seq = h.topic.seqs[h.index]
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
