package topic

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// MaxKeyBytes bounds an idempotency key.
const MaxKeyBytes = 255

// NewKey makes the key of an append of these drafts. What they are decides
// whether another append is a retry, not the way that they came; so one key
// may be retried over another transport. An empty value is no key.
func NewKey(value string, drafts []Draft) Key {
	if value == "" {
		return Key{}
	}
	h := sha256.New()
	var n [8]byte
	field := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(n[:0], uint64(len(b))))
		h.Write(b)
	}
	for _, d := range drafts {
		field([]byte(d.Type))
		field([]byte(d.Media))
		field(d.Data)
	}
	k := Key{Value: value}
	h.Sum(k.Digest[:0])
	return k
}

// keyPatience is how long a publish waits for another one with the same key.
const keyPatience = 5 * time.Second

// keysInProgress lets one publish at a time use an idempotency key.
type keysInProgress struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // by topic and key; closed on release; guarded by mu
}

// acquire waits until the key is free and takes it.
func (k *keysInProgress) acquire(ctx context.Context, topic, key string) (release func(), err error) {
	name := topic + "\x00" + key // no topic name holds NUL
	var patience <-chan time.Time
	for {
		k.mu.Lock()
		other := k.busy[name]
		if other == nil {
			if k.busy == nil {
				k.busy = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			k.busy[name] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.busy, name)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		if patience == nil {
			patience = time.After(keyPatience)
		}
		select {
		case <-other:
		case <-patience:
			return nil, ErrKeyInProgress
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
