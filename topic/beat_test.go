package topic

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The list is in the order of the pushes, whoever is removed.
func TestBeatsAgainstSlice(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var b beats
	var model []*Subscriber
	for range 3000 {
		switch rng.IntN(5) {
		case 0, 1:
			sub := new(Subscriber)
			b.push(sub)
			model = append(model, sub)
		case 2:
			b.remove(new(Subscriber)) // one that has no heartbeat
		case 3:
			if len(model) > 0 { // was pinged
				b.remove(model[0])
				b.push(model[0])
				model = append(model[1:], model[0])
			}
		default:
			if len(model) > 0 {
				i := rng.IntN(len(model))
				b.remove(model[i])
				b.remove(model[i]) // no harm
				model = slices.Delete(model, i, i+1)
			}
		}
		var forth, back []*Subscriber
		for sub := b.first; sub != nil; sub = sub.laterOn {
			forth = append(forth, sub)
		}
		for sub := b.last; sub != nil; sub = sub.earlier {
			back = append(back, sub)
		}
		slices.Reverse(back)
		if !slices.Equal(forth, model) || !slices.Equal(back, model) {
			t.Fatalf("%d forth, %d back, want %d", len(forth), len(back), len(model))
		}
	}
}
