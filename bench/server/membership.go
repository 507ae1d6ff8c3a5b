package main

import "sync"

// queued is how many messages may wait for a connection, as in the chat
// examples of gorilla and coder; who has more waiting is left out.
const queued = 256

// membership passes messages to the goroutines that write, for libraries whose
// examples do it by channels.
type membership[M any] struct {
	mu     sync.Mutex // guards queues
	queues map[chan M]struct{}
}

func (m *membership[M]) join() chan M {
	queue := make(chan M, queued)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queues == nil {
		m.queues = map[chan M]struct{}{}
	}
	m.queues[queue] = struct{}{}
	return queue
}

// leave may follow a send that has left the queue out already.
func (m *membership[M]) leave(queue chan M) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(queue)
}

func (m *membership[M]) remove(queue chan M) {
	if _, ok := m.queues[queue]; ok {
		delete(m.queues, queue)
		close(queue)
	}
}

func (m *membership[M]) send(message M) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for queue := range m.queues {
		select {
		case queue <- message:
		default:
			m.remove(queue)
		}
	}
}
