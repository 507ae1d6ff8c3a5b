package keep

import (
	"cmp"
	"iter"
	"slices"
	"sort"
)

// Named is what has a name, which does not change.
type Named interface{ Name() string }

// Names is what has names, each of which is there once, in their order. It is in
// blocks: a full one is divided, one that empties goes. So what comes or goes
// costs a search and the move of half a block. The zero Names is empty.
type Names[T Named] struct {
	blocks [][]T // none is empty
}

const blockNames = 512

// block returns the index of the block where the name is, or would be put; the
// first if there is none.
func (n *Names[T]) block(name string) int {
	i := sort.Search(len(n.blocks), func(i int) bool { return n.blocks[i][0].Name() > name })
	return max(i-1, 0)
}

// place returns the index of the first of a block that is not before the name.
func place[T Named](block []T, name string) int {
	i, _ := slices.BinarySearchFunc(block, name, func(t T, name string) int { return cmp.Compare(t.Name(), name) })
	return i
}

// Add adds what is not there.
func (n *Names[T]) Add(t T) {
	if len(n.blocks) == 0 {
		n.blocks = [][]T{{t}}
		return
	}
	i := n.block(t.Name())
	at := place(n.blocks[i], t.Name())
	if len(n.blocks[i]) == blockNames {
		half := blockNames / 2
		if i == len(n.blocks)-1 && at == blockNames { // names that rise fill their blocks
			half = blockNames
		}
		rest := append(make([]T, 0, blockNames), n.blocks[i][half:]...)
		clear(n.blocks[i][half:])
		n.blocks[i] = n.blocks[i][:half]
		if at >= half {
			at -= half
			i++
			n.blocks = slices.Insert(n.blocks, i, slices.Insert(rest, at, t))
			return
		}
		n.blocks = slices.Insert(n.blocks, i+1, rest)
	}
	n.blocks[i] = slices.Insert(n.blocks[i], at, t)
}

// Remove removes what is there.
func (n *Names[T]) Remove(t T) {
	i := n.block(t.Name())
	at := place(n.blocks[i], t.Name())
	if n.blocks[i] = slices.Delete(n.blocks[i], at, at+1); len(n.blocks[i]) == 0 {
		n.blocks = slices.Delete(n.blocks, i, i+1)
		return
	}
	// Two that fit in half a block become one.
	for _, i := range [2]int{i, i - 1} {
		if i >= 0 && i+1 < len(n.blocks) && len(n.blocks[i])+len(n.blocks[i+1]) <= blockNames/2 {
			n.blocks[i] = append(n.blocks[i], n.blocks[i+1]...)
			n.blocks = slices.Delete(n.blocks, i+1, i+2)
		}
	}
}

// After yields those whose name is greater. Names must not come or go meanwhile.
func (n *Names[T]) After(name string) iter.Seq[T] {
	return func(yield func(T) bool) {
		if len(n.blocks) == 0 {
			return
		}
		i := n.block(name)
		skip := place(n.blocks[i], name+"\x00") // the least greater name
		for ; i < len(n.blocks); i++ {
			for _, t := range n.blocks[i][skip:] {
				if !yield(t) {
					return
				}
			}
			skip = 0
		}
	}
}
