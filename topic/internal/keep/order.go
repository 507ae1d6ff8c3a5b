package keep

import (
	"iter"
	"slices"
	"sort"
)

// An Order is values by rising numbers, as the entries of a log across its
// topics, in blocks. What is dropped stays in its block as a stale item until the
// block can be joined with a neighbour or has nothing else left. So the blocks
// before the last are a quarter full on average or more, and no work is ever
// larger than two blocks. The zero Order is empty.
type Order[T comparable] struct {
	blocks []*block[T] // none is empty
}

type block[T comparable] struct {
	first uint64 // the number of items[0]
	live  int    // items that are not stale
	items []Item[T]
}

// An Item is a value of an [Order] with its number.
type Item[T comparable] struct {
	Seq   uint64
	Value T // zero if the item is stale
}

const blockItems = 1024

// Live reports whether the item is not stale.
func (it *Item[T]) Live() bool {
	var none T
	return it.Value != none
}

// Push adds a value, which must not be zero, at a number beyond all others.
func (o *Order[T]) Push(seq uint64, value T) {
	n := len(o.blocks)
	if n == 0 || len(o.blocks[n-1].items) == blockItems {
		o.blocks = append(o.blocks, &block[T]{first: seq, items: make([]Item[T], 0, blockItems)})
		if n > 0 {
			o.tidy(n - 1)
		}
	}
	b := o.blocks[len(o.blocks)-1]
	b.items = append(b.items, Item[T]{seq, value})
	b.live++
}

// Find returns the item of a number; nil if there is none. It is valid until the
// order changes.
func (o *Order[T]) Find(seq uint64) *Item[T] {
	if len(o.blocks) == 0 {
		return nil
	}
	b := o.blocks[o.block(seq)]
	if i := b.search(seq); i < len(b.items) && b.items[i].Seq == seq {
		return &b.items[i]
	}
	return nil
}

// Drop makes the item of a number stale, which must be there and be live. It
// returns its value.
func (o *Order[T]) Drop(seq uint64) T {
	i := o.block(seq)
	b := o.blocks[i]
	it := &b.items[b.search(seq)]
	value := it.Value
	var none T
	it.Value = none
	b.live--
	if i < len(o.blocks)-1 {
		o.tidy(i)
	}
	return value
}

// tidy removes block i if all of it is stale, else joins it with a neighbour
// if half a block holds both.
func (o *Order[T]) tidy(i int) {
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
func (o *Order[T]) join(i int) bool {
	if i+1 >= len(o.blocks) || o.blocks[i].live+o.blocks[i+1].live > blockItems/2 {
		return false
	}
	b, next := o.blocks[i], o.blocks[i+1]
	stale := func(it Item[T]) bool { return !it.Live() }
	b.items = slices.DeleteFunc(b.items, stale)
	b.items = append(b.items, slices.DeleteFunc(next.items, stale)...)
	b.first, b.live = b.items[0].Seq, len(b.items)
	o.blocks = slices.Delete(o.blocks, i+1, i+2)
	return true
}

// block returns the index of the block that holds a number if any does, at
// least 0.
func (o *Order[T]) block(seq uint64) int {
	if len(o.blocks) < 2 || seq < o.blocks[1].first { // where retention works
		return 0
	}
	return sort.Search(len(o.blocks), func(i int) bool { return o.blocks[i].first > seq }) - 1
}

// After yields the items after a number, oldest first, also stale ones. They are
// valid until the order changes, which it must not meanwhile.
func (o *Order[T]) After(seq uint64) iter.Seq[*Item[T]] {
	return func(yield func(*Item[T]) bool) {
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

// Before yields the items before a number as After does, newest first.
func (o *Order[T]) Before(seq uint64) iter.Seq[*Item[T]] {
	return func(yield func(*Item[T]) bool) {
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

// search returns the index of the first item that is not before a number.
func (b *block[T]) search(seq uint64) int {
	if i := seq - b.first; i < uint64(len(b.items)) && b.items[i].Seq == seq {
		return int(i) // nothing is missing in front of it
	}
	i, j := 0, len(b.items)
	for i < j {
		if h := (i + j) / 2; b.items[h].Seq < seq {
			i = h + 1
		} else {
			j = h
		}
	}
	return i
}
