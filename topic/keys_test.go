package topic

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// "While the first is still in progress, the retry waits for its outcome"
// (PROTOCOL.md §7.4). A key belongs to its topic.
func TestKeyInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keysInProgress
		release, err := k.acquire(t.Context(), "a", "key")
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range [][2]string{{"b", "key"}, {"a", "other"}, {"ak", "ey"}} {
			release, err := k.acquire(t.Context(), other[0], other[1])
			if err != nil {
				t.Fatal(err)
			}
			release()
		}
		begun := time.Now()
		const waiters = 3
		var got [waiters]time.Duration
		for i := range waiters {
			go func() {
				release, err := k.acquire(t.Context(), "a", "key")
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = time.Since(begun)
				time.Sleep(time.Second)
				release()
			}()
		}
		time.Sleep(time.Second)
		release()
		time.Sleep(waiters * time.Second)
		synctest.Wait()
		var sum time.Duration
		for _, d := range got {
			sum += d
		}
		if sum != (1+2+3)*time.Second { // one at a time
			t.Errorf("acquired after %v", got)
		}
		if len(k.busy) != 0 {
			t.Errorf("%d keys are left", len(k.busy))
		}
	})
}

func TestKeyPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keysInProgress
		release, err := k.acquire(t.Context(), "a", "key")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := k.acquire(t.Context(), "a", "key"); !errors.Is(err, ErrKeyInProgress) || time.Since(begun) != keyPatience {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("gone"))
		defer cancel()
		begun = time.Now()
		if _, err := k.acquire(ctx, "a", "key"); err == nil || err.Error() != "gone" || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		release()
		again, err := k.acquire(ctx, "a", "key") // free: the context does not matter
		if err != nil {
			t.Fatal(err)
		}
		again()
		if len(k.busy) != 0 {
			t.Errorf("%d keys are left", len(k.busy))
		}
	})
}

// The patience is for all that come before, not for each of them.
func TestKeyPatienceIsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keysInProgress
		release, err := k.acquire(t.Context(), "a", "key")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(keyPatience-time.Second, release)
		begun := time.Now()
		refused := 0
		results := make(chan error)
		var both sync.WaitGroup
		defer both.Wait()
		for range 2 {
			both.Go(func() {
				release, err := k.acquire(t.Context(), "a", "key")
				results <- err
				if err == nil {
					time.Sleep(keyPatience)
					release()
				}
			})
		}
		for range 2 {
			if err := <-results; err != nil {
				refused++
				if !errors.Is(err, ErrKeyInProgress) || time.Since(begun) != keyPatience {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
			}
		}
		if refused != 1 {
			t.Errorf("%d of 2 were refused", refused)
		}
	})
}
