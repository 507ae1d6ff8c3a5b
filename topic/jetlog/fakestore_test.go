package jetlog

import (
	"context"
	"errors"
	"sync"
)

// fakeStore is a store in memory, which may be in a bubble.
type fakeStore struct {
	mu       sync.Mutex
	first    uint64
	messages [][]byte
	subjects []string
	answer   func() error // of publish, if it is set; only errNotStored comes before it is stored
}

func newFakeStore() *fakeStore { return &fakeStore{first: 1} }

func (s *fakeStore) publish(subject string, message []byte) (uint64, error) {
	var err error
	if s.answer != nil {
		err = s.answer()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errNotStored) {
		return 0, err
	}
	s.subjects = append(s.subjects, subject)
	s.messages = append(s.messages, message)
	return s.first + uint64(len(s.messages)) - 1, err
}

func (s *fakeStore) message(number uint64) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := number - s.first; number >= s.first && i < uint64(len(s.messages)) && s.messages[i] != nil {
		return s.messages[i], true
	}
	return nil, false
}

func (s *fakeStore) load(_ context.Context, numbers []uint64, f func(uint64, []byte) error) error {
	for _, number := range numbers {
		b, ok := s.message(number)
		if !ok {
			return &missingError{number}
		}
		if err := f(number, b); err != nil {
			return err
		}
	}
	return nil
}

func (s *fakeStore) scan(ctx context.Context, from uint64, f func(uint64, []byte) error) error {
	state, _ := s.state(ctx)
	for number := max(from, state.first); number <= state.last; number++ {
		if b, ok := s.message(number); ok {
			if err := f(number, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *fakeStore) purge(_ context.Context, before uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := before - s.first; before > s.first {
		s.messages = s.messages[min(n, uint64(len(s.messages))):]
		s.first = before
	}
	return nil
}

func (s *fakeStore) state(context.Context) (storeState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := storeState{first: s.first, last: s.first + uint64(len(s.messages)) - 1}
	for _, m := range s.messages {
		state.bytes += uint64(len(m))
	}
	return state, nil
}
