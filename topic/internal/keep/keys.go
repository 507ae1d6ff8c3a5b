package keep

import "iter"

// Keys remembers the idempotency keys of the window. All are remembered
// equally long, so they expire in the order in which they came. The zero Keys is
// empty.
type Keys struct {
	byKey          map[Key]*Keyed
	oldest, newest *Keyed
}

// A Key is an idempotency key of a topic.
type Key struct{ Topic, Value string }

// Keyed is an append that had a key.
type Keyed struct {
	Key     Key
	First   uint64 // sequence number of its first entry
	Message uint64 // that holds it, in logs that have messages
	Digest  [32]byte
	Expires int64 // Unix nanoseconds
	next    *Keyed
}

// Len is how many keys there are, also those that are over age.
func (k *Keys) Len() int { return len(k.byKey) }

// Oldest returns the one that expires next; nil if there is none.
func (k *Keys) Oldest() *Keyed { return k.oldest }

// All yields what is remembered, oldest first. A key that is in use again may
// come twice.
func (k *Keys) All() iter.Seq[*Keyed] {
	return func(yield func(*Keyed) bool) {
		for r := k.oldest; r != nil && yield(r); r = r.next {
		}
	}
}

// Find returns nil if the key is not in use.
func (k *Keys) Find(key Key, now int64) *Keyed {
	if r := k.byKey[key]; r != nil && now < r.Expires {
		return r
	}
	return nil
}

// Add remembers an append, which expires no earlier than the others.
func (k *Keys) Add(r *Keyed) {
	if k.byKey == nil {
		k.byKey = make(map[Key]*Keyed)
	}
	if k.newest == nil {
		k.oldest = r
	} else {
		k.newest.next = r
	}
	k.newest = r
	k.byKey[r.Key] = r
}

// Expire forgets the oldest key if it is over age, and reports whether it was.
func (k *Keys) Expire(now int64) bool {
	r := k.oldest
	if r == nil || now < r.Expires {
		return false
	}
	if k.oldest = r.next; k.oldest == nil {
		k.newest = nil
	}
	if k.byKey[r.Key] == r { // else it is in use again
		delete(k.byKey, r.Key)
	}
	return true
}
