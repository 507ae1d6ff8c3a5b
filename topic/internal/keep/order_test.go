package keep

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// An order has what a plain list has, in blocks that stay few.
func TestOrderAgainstSlice(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var o Order[int]
	var model []uint64 // the live ones
	seq := uint64(0)
	for range 20 {
		for range r.IntN(3 * blockItems) {
			seq += 1 + uint64(r.IntN(3))
			o.Push(seq, int(seq)*7)
			model = append(model, seq)
		}
		drop := func(i int) {
			if got := o.Drop(model[i]); got != int(model[i])*7 {
				t.Fatalf("dropped %d of %d", got, model[i])
			}
			model = slices.Delete(model, i, i+1)
		}
		switch n := r.IntN(len(model) + 1); r.IntN(3) {
		case 0: // the oldest
			for range n {
				drop(0)
			}
		case 1: // all but a few
			for i := len(model) - 1; i >= 0; i-- {
				if r.IntN(100) > 0 {
					drop(i)
				}
			}
		default:
			for range min(n/2, blockItems) {
				drop(r.IntN(len(model)))
			}
		}
		checkOrder(t, &o, model)
		for _, from := range []uint64{0, seq / 2, seq - min(seq, 7), seq + 1} {
			i, found := slices.BinarySearch(model, from)
			if it := o.Find(from); found != (it != nil && it.Live()) || found && it.Value != int(from)*7 {
				t.Fatalf("found %d: %+v", from, it)
			}
			if got := live(o.Before(from)); !slices.Equal(got, reversed(model[:i])) {
				t.Fatalf("before %d: %d items, want %d", from, len(got), i)
			}
			if found {
				i++
			}
			if got := live(o.After(from)); !slices.Equal(got, model[i:]) {
				t.Fatalf("after %d: %d items, want %d", from, len(got), len(model)-i)
			}
		}
	}
}

func live(items func(func(*Item[int]) bool)) (seqs []uint64) {
	for it := range items {
		if it.Live() {
			seqs = append(seqs, it.Seq)
		}
	}
	return seqs
}

func reversed(seqs []uint64) []uint64 {
	seqs = slices.Clone(seqs)
	slices.Reverse(seqs)
	return seqs
}

// checkOrder compares the blocks of an order with each other, and with what is
// live in them.
func checkOrder(t *testing.T, o *Order[int], model []uint64) {
	t.Helper()
	if got := live(o.After(0)); !slices.Equal(got, model) {
		t.Fatalf("%d items, want %d", len(got), len(model))
	}
	seq := uint64(0)
	for i, b := range o.blocks {
		live := 0
		for _, it := range b.items {
			if it.Seq <= seq {
				t.Fatalf("block %d: item %d after %d", i, it.Seq, seq)
			}
			seq = it.Seq
			if it.Live() {
				live++
			}
		}
		if live != b.live || len(b.items) == 0 || b.first != b.items[0].Seq {
			t.Fatalf("block %d has %d items, %d live, counted %d", i, len(b.items), live, b.live)
		}
		if i+2 < len(o.blocks) && b.live+o.blocks[i+1].live <= blockItems/2 {
			t.Fatalf("blocks %d and %d hold %d live items", i, i+1, b.live+o.blocks[i+1].live)
		}
	}
}
