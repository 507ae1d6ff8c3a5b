package keep

import "testing"

// A key that is in use again, after its time was over but before it was
// forgotten, stays when the first one goes.
func TestKeyInUseAgain(t *testing.T) {
	var k Keys
	a, b := Key{"t", "a"}, Key{"t", "b"}
	k.Add(&Keyed{Key: a, First: 1, Expires: 10})
	k.Add(&Keyed{Key: b, First: 2, Expires: 11})
	if r := k.Find(a, 9); r == nil || r.First != 1 {
		t.Errorf("found %+v", r)
	}
	if r := k.Find(a, 10); r != nil {
		t.Errorf("found %+v when its time was over", r)
	}
	k.Add(&Keyed{Key: a, First: 3, Expires: 20})
	var firsts []uint64
	for r := range k.All() {
		firsts = append(firsts, r.First)
	}
	if len(firsts) != 3 || k.Oldest().First != 1 || k.Len() != 2 {
		t.Errorf("%d of %d keys, %d of them first", firsts, k.Len(), k.Oldest().First)
	}
	for range 2 {
		if !k.Expire(11) {
			t.Error("did not expire")
		}
	}
	if r := k.Find(a, 11); k.Expire(11) || r == nil || r.First != 3 || k.Len() != 1 {
		t.Errorf("found %+v of %d keys", r, k.Len())
	}
	if !k.Expire(20) || k.Expire(20) || k.Len() != 0 || k.Oldest() != nil {
		t.Error("not empty")
	}
	k.Add(&Keyed{Key: b, Expires: 30})
	if k.Oldest() == nil {
		t.Error("empty")
	}
}
