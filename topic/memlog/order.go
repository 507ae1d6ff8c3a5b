package memlog

import (
	"iter"
	"slices"
	"sort"
)

// order is a sequence of topics by rising numbers, in blocks: the log's across
// its topics. What is lost
// stays in its block as a stale item until the block can be joined with a
// neighbour or has nothing else left. So the blocks before the last are a
// quarter full on average or more, and no work is ever larger than two blocks.
type order struct {
	blocks []*block        // none is empty
	live   func(item) bool // and not stale; once it is not, never again
}

type block struct {
	first uint64 // the seq of items[0]
	live  int    // items that are not stale
	items []item
}

type item struct {
	seq   uint64
	topic *topicLog
}

const blockItems = 1024

func (o *order) push(seq uint64, t *topicLog) {
	n := len(o.blocks)
	if n == 0 || len(o.blocks[n-1].items) == blockItems {
		o.blocks = append(o.blocks, &block{first: seq, items: make([]item, 0, blockItems)})
		if n > 0 {
			o.tidy(n - 1)
		}
	}
	b := o.blocks[len(o.blocks)-1]
	b.items = append(b.items, item{seq, t})
	b.live++
}

// drop is told that the item of seq has become stale.
func (o *order) drop(seq uint64) {
	i := o.block(seq)
	o.blocks[i].live--
	if i < len(o.blocks)-1 {
		o.tidy(i)
	}
}

// tidy removes block i if all of it is stale, else joins it with a neighbour
// if half a block holds both.
func (o *order) tidy(i int) {
	if o.blocks[i].live == 0 {
		o.blocks = slices.Delete(o.blocks, i, i+1)
	} else if o.join(i) {
		return
	}
	if i > 0 {
		o.join(i - 1)
	}
}

// join makes blocks i and i+1 one, if that leaves it half empty.
func (o *order) join(i int) bool {
	if i+1 >= len(o.blocks) || o.blocks[i].live+o.blocks[i+1].live > blockItems/2 {
		return false
	}
	b, next := o.blocks[i], o.blocks[i+1]
	stale := func(it item) bool { return !o.live(it) }
	b.items = slices.DeleteFunc(b.items, stale)
	b.items = append(b.items, slices.DeleteFunc(next.items, stale)...)
	b.first, b.live = b.items[0].seq, len(b.items)
	o.blocks = slices.Delete(o.blocks, i+1, i+2)
	return true
}

// block returns the index of the block that holds seq if any does, at least 0.
func (o *order) block(seq uint64) int {
	if len(o.blocks) < 2 || seq < o.blocks[1].first { // where retention works
		return 0
	}
	return sort.Search(len(o.blocks), func(i int) bool { return o.blocks[i].first > seq }) - 1
}

// after yields the items after seq, oldest first, also stale ones.
func (o *order) after(seq uint64) iter.Seq[item] {
	return func(yield func(item) bool) {
		if len(o.blocks) == 0 {
			return
		}
		i := o.block(seq)
		skip := o.blocks[i].search(seq + 1)
		for _, b := range o.blocks[i:] {
			for _, it := range b.items[skip:] {
				if !yield(it) {
					return
				}
			}
			skip = 0
		}
	}
}

// before yields the items before seq, newest first, also stale ones.
func (o *order) before(seq uint64) iter.Seq[item] {
	return func(yield func(item) bool) {
		if len(o.blocks) == 0 {
			return
		}
		i := o.block(seq)
		keep := o.blocks[i].search(seq)
		for ; i >= 0; i-- {
			items := o.blocks[i].items
			if keep < 0 {
				keep = len(items)
			}
			for _, it := range slices.Backward(items[:keep]) {
				if !yield(it) {
					return
				}
			}
			keep = -1
		}
	}
}

// search returns the index of the first item that is not before seq.
func (b *block) search(seq uint64) int {
	i, _ := slices.BinarySearchFunc(b.items, seq, func(it item, seq uint64) int {
		switch {
		case it.seq < seq:
			return -1
		case it.seq > seq:
			return 1
		}
		return 0
	})
	return i
}
