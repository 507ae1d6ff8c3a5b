package jetlog

import (
	"iter"
	"math"
	"slices"
	"sort"
)

// order is the sequence of the log across its topics, in blocks. What is
// removed stays in its block as a stale item until the block can be joined with
// a neighbour or has nothing else left. So the blocks before the last are a
// quarter full on average or more, and no work is ever larger than two blocks.
type order struct {
	blocks []*block // none is empty
}

type block struct {
	first uint64 // the seq of items[0]
	live  int    // items that are not stale
	items []item
}

// item is an entry without its content. It has no pointers: there are millions.
type item struct {
	seq     uint64
	message uint64 // where its content is
	nanos   int64  // Unix time
	topic   uint32 // its number; 0 for a stale item
	size    uint32 // of its data; endSize for an end
}

const (
	blockItems = 1024
	endSize    = math.MaxUint32
)

func (it *item) live() bool  { return it.topic != 0 }
func (it *item) isEnd() bool { return it.size == endSize }

// bytes is the size of the data.
func (it *item) bytes() int {
	if it.isEnd() {
		return 0
	}
	return int(it.size)
}

func (o *order) push(it item) {
	n := len(o.blocks)
	if n == 0 || len(o.blocks[n-1].items) == blockItems {
		o.blocks = append(o.blocks, &block{first: it.seq, items: make([]item, 0, blockItems)})
		if n > 0 {
			o.tidy(n - 1)
		}
	}
	b := o.blocks[len(o.blocks)-1]
	b.items = append(b.items, it)
	b.live++
}

// find returns the item of seq, which must be there. It is valid until the
// order changes.
func (o *order) find(seq uint64) *item {
	b := o.blocks[o.block(seq)]
	return &b.items[b.search(seq)]
}

// get is find for an item that may not be there.
func (o *order) get(seq uint64) *item {
	if len(o.blocks) == 0 {
		return nil
	}
	b := o.blocks[o.block(seq)]
	if i := b.search(seq); i < len(b.items) && b.items[i].seq == seq {
		return &b.items[i]
	}
	return nil
}

// drop makes the item of seq stale, and returns what it was.
func (o *order) drop(seq uint64) item {
	i := o.block(seq)
	b := o.blocks[i]
	it := &b.items[b.search(seq)]
	was := *it
	it.topic = 0
	b.live--
	if i < len(o.blocks)-1 {
		o.tidy(i)
	}
	return was
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
	stale := func(it item) bool { return !it.live() }
	b.items = slices.DeleteFunc(b.items, stale)
	for _, it := range next.items {
		if it.live() {
			b.items = append(b.items, it)
		}
	}
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
func (o *order) after(seq uint64) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		if len(o.blocks) == 0 {
			return
		}
		i := o.block(seq)
		skip := o.blocks[i].search(seq + 1)
		for _, b := range o.blocks[i:] {
			for j := skip; j < len(b.items); j++ {
				if !yield(&b.items[j]) {
					return
				}
			}
			skip = 0
		}
	}
}

// before yields the items before seq, newest first, also stale ones.
func (o *order) before(seq uint64) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		if len(o.blocks) == 0 {
			return
		}
		i := o.block(seq)
		keep := o.blocks[i].search(seq)
		for {
			for j := keep - 1; j >= 0; j-- {
				if !yield(&o.blocks[i].items[j]) {
					return
				}
			}
			if i--; i < 0 {
				return
			}
			keep = len(o.blocks[i].items)
		}
	}
}

// search returns the index of the first item that is not before seq.
func (b *block) search(seq uint64) int {
	i, j := 0, len(b.items)
	for i < j {
		if h := (i + j) / 2; b.items[h].seq < seq {
			i = h + 1
		} else {
			j = h
		}
	}
	return i
}
