package memlog

import (
	"cmp"
	"iter"
	"slices"
	"sort"
)

// names lists the known topics in the order of their names, in blocks. A full
// one is divided; one that empties goes. So a topic that comes or goes costs a
// search and the move of half a block.
type names struct {
	blocks [][]*topicLog // none is empty
}

const nameBlock = 512

// block returns the index of the block where the name is, or would be put; the
// first if there is none.
func (n *names) block(name string) int {
	i := sort.Search(len(n.blocks), func(i int) bool { return n.blocks[i][0].name > name })
	return max(i-1, 0)
}

// place returns the index of the first topic of a block that is not before the
// name.
func place(block []*topicLog, name string) int {
	i, _ := slices.BinarySearchFunc(block, name, func(t *topicLog, name string) int { return cmp.Compare(t.name, name) })
	return i
}

func (n *names) add(t *topicLog) {
	if len(n.blocks) == 0 {
		n.blocks = [][]*topicLog{{t}}
		return
	}
	i := n.block(t.name)
	at := place(n.blocks[i], t.name)
	if len(n.blocks[i]) == nameBlock {
		half := nameBlock / 2
		if i == len(n.blocks)-1 && at == nameBlock { // names that rise fill their blocks
			half = nameBlock
		}
		rest := append(make([]*topicLog, 0, nameBlock), n.blocks[i][half:]...)
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

func (n *names) remove(t *topicLog) {
	i := n.block(t.name)
	at := place(n.blocks[i], t.name)
	if n.blocks[i] = slices.Delete(n.blocks[i], at, at+1); len(n.blocks[i]) == 0 {
		n.blocks = slices.Delete(n.blocks, i, i+1)
		return
	}
	// Two that fit in half a block become one.
	for _, i := range [2]int{i, i - 1} {
		if i >= 0 && i+1 < len(n.blocks) && len(n.blocks[i])+len(n.blocks[i+1]) <= nameBlock/2 {
			n.blocks[i] = append(n.blocks[i], n.blocks[i+1]...)
			n.blocks = slices.Delete(n.blocks, i+1, i+2)
		}
	}
}

// after yields the topics whose name is greater.
func (n *names) after(name string) iter.Seq[*topicLog] {
	return func(yield func(*topicLog) bool) {
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
