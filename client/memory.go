package client

import (
	"net/url"
	"sync"
	"time"
)

// remembered is for how long (PROTOCOL.md §15.3).
const remembered = 24 * time.Hour

// A Memory knows which transport worked last for which server, for 24 hours.
// The zero value is ready; clients may share it.
type Memory struct {
	mu      sync.Mutex
	origins map[string]memo // guarded by mu
}

type memo struct {
	transport Transport
	noted     time.Time
}

// everybodys is the memory of clients that have none of their own.
var everybodys Memory

// Set notes that the transport works for the server at baseURL; "" forgets.
func (m *Memory) Set(baseURL string, t Transport) {
	if u, err := url.Parse(baseURL); err == nil {
		m.note(u, t)
	}
}

func (m *Memory) note(base *url.URL, t Transport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.origins == nil {
		m.origins = make(map[string]memo)
	}
	m.origins[base.Scheme+"://"+base.Host] = memo{t, time.Now()}
}

func (m *Memory) recall(base *url.URL) Transport {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.origins[base.Scheme+"://"+base.Host]
	if time.Since(found.noted) > remembered {
		return ""
	}
	return found.transport
}
