package presence

import (
	"iter"
	"slices"
	"strings"
)

// A roll holds members in the byte order of their names. It is cut into chunks,
// so that neither a search nor a change touches many.
type roll struct{ chunks [][]*member }

// chunkMembers bounds a chunk.
const chunkMembers = 256

// find returns where a name is, or belongs.
func (r *roll) find(name string) (chunk, i int, found bool) {
	// The chunk before the first one that begins after the name.
	chunk, found = slices.BinarySearchFunc(r.chunks, name, func(c []*member, name string) int { return strings.Compare(c[0].name, name) })
	if !found && chunk > 0 {
		chunk--
	}
	if chunk < len(r.chunks) {
		i, found = slices.BinarySearchFunc(r.chunks[chunk], name, func(m *member, name string) int { return strings.Compare(m.name, name) })
	}
	return chunk, i, found
}

// get returns the member of that name; nil if there is none.
func (r *roll) get(name string) *member {
	if chunk, i, found := r.find(name); found {
		return r.chunks[chunk][i]
	}
	return nil
}

// add adds a member whose name is not there.
func (r *roll) add(m *member) {
	at, i, _ := r.find(m.name)
	if at == len(r.chunks) { // there is none
		r.chunks = [][]*member{{m}}
		return
	}
	c := slices.Insert(r.chunks[at], i, m)
	r.chunks[at] = c
	if len(c) > chunkMembers {
		half := len(c) / 2
		r.chunks = slices.Insert(r.chunks, at+1, slices.Clone(c[half:]))
		clear(c[half:])
		r.chunks[at] = c[:half]
	}
}

// remove removes the member of that name, which must be there.
func (r *roll) remove(name string) {
	at, i, _ := r.find(name)
	c := slices.Delete(r.chunks[at], i, i+1)
	switch {
	case len(c) == 0:
		r.chunks = slices.Delete(r.chunks, at, at+1)
		return
	case len(c) <= cap(c)/4:
		c = slices.Clone(c) // a chunk that is almost empty is not to stay large
	}
	r.chunks[at] = c
}

func (r *roll) empty() bool { return len(r.chunks) == 0 }

// after gives the members whose names follow that name.
func (r *roll) after(name string) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		at, i, found := r.find(name)
		if found {
			i++
		}
		for ; at < len(r.chunks); at, i = at+1, 0 {
			for _, m := range r.chunks[at][i:] {
				if !yield(m) {
					return
				}
			}
		}
	}
}
