package jetlog

import "github.com/duplexhq/duplex/topic"

// keys remembers the idempotency keys of the window. All are remembered
// equally long, so they expire in the order in which they came.
type keys struct {
	byName         map[keyName]*remembered
	oldest, newest *remembered
}

type keyName struct{ topic, value string }

// remembered is an append that had a key.
type remembered struct {
	name    keyName
	first   uint64 // sequence number of its first entry
	message uint64 // that holds it
	digest  [32]byte
	expires int64 // Unix nanoseconds
	next    *remembered
}

// find returns nil if the key is not in use.
func (k *keys) find(name, value string, now int64) *remembered {
	if r := k.byName[keyName{name, value}]; r != nil && now < r.expires {
		return r
	}
	return nil
}

func (k *keys) add(r *remembered) {
	if k.byName == nil {
		k.byName = make(map[keyName]*remembered)
	}
	if k.newest == nil {
		k.oldest = r
	} else {
		k.newest.next = r
	}
	k.newest = r
	k.byName[r.name] = r
}

// expire forgets the oldest key if it is over age.
func (k *keys) expire(now int64) bool {
	r := k.oldest
	if r == nil || now < r.expires {
		return false
	}
	if k.oldest = r.next; k.oldest == nil {
		k.newest = nil
	}
	if k.byName[r.name] == r { // else it is in use again
		delete(k.byName, r.name)
	}
	return true
}

// remember notes the key of an append, if it has one.
func (x *index) remember(name string, key topic.Key, first, message uint64, nanos int64) {
	if key.Value == "" || x.window <= 0 {
		return
	}
	x.keys.add(&remembered{
		name:    keyName{name, key.Value},
		first:   first,
		message: message,
		digest:  key.Digest,
		expires: nanos + x.window,
	})
}
