package keep

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

type named struct{ name string }

func (n *named) Name() string { return n.name }

// The list is sorted, whoever comes and goes, and goes on after any name.
func TestNamesAgainstSlice(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var n Names[*named]
	var model []string
	known := make(map[string]*named)
	after := func(from string) (list []string) {
		for t := range n.After(from) {
			list = append(list, t.name)
		}
		return list
	}
	check := func() {
		t.Helper()
		from := ""
		if len(model) > 0 {
			from = model[r.IntN(len(model))] + []string{"", "x"}[r.IntN(2)]
		}
		for _, from := range []string{"", from} {
			i, found := slices.BinarySearch(model, from)
			if found {
				i++
			}
			if got := after(from); !slices.Equal(got, model[i:]) {
				t.Fatalf("after %q: %d names, want %d", from, len(got), len(model[i:]))
			}
		}
		for i, b := range n.blocks {
			if len(b) == 0 || len(b) > blockNames {
				t.Fatalf("block %d has %d names", i, len(b))
			}
			if i > 0 && len(b)+len(n.blocks[i-1]) <= blockNames/2 {
				t.Fatalf("blocks %d and %d have %d names", i-1, i, len(b)+len(n.blocks[i-1]))
			}
		}
	}
	for round := range 40 {
		grow := round%4 != 3
		for range 3 * blockNames / 2 {
			name := strconv.Itoa(r.IntN(1_000_000))
			i, found := slices.BinarySearch(model, name)
			switch {
			case grow && !found:
				known[name] = &named{name}
				n.Add(known[name])
				model = slices.Insert(model, i, name)
			case !grow && len(model) > 0:
				i = min(i, len(model)-1)
				n.Remove(known[model[i]])
				model = slices.Delete(model, i, i+1)
			}
		}
		check()
	}
	for len(model) > 0 {
		n.Remove(known[model[0]])
		model = model[1:]
		if len(model)%500 == 0 {
			check()
		}
	}
	if len(n.blocks) > 0 {
		t.Errorf("%d blocks for no names", len(n.blocks))
	}
}

// Names that come in their order fill their blocks.
func TestNamesInOrder(t *testing.T) {
	var n Names[*named]
	for i := range 10 * blockNames {
		n.Add(&named{name: strconv.Itoa(1_000_000 + i)})
	}
	if len(n.blocks) != 10 {
		t.Errorf("%d blocks", len(n.blocks))
	}
}
