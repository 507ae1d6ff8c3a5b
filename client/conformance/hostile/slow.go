package hostile

import (
	"net"
	"sync"
	"time"
)

// chunk is what a slow network carries at once.
const chunk = 512

// slow delays what is written to the connection, as a long and thin line does.
// What is written takes its time one piece after the other; pieces on their way
// do not wait for each other.
func (n *Network) slow(conn net.Conn) *slowConn {
	s := &slowConn{Conn: conn, delay: n.RoundTrip / 2, pieces: make(chan piece, 1024), ended: make(chan struct{})}
	if n.BytesPerSecond > 0 {
		s.perByte = time.Second / time.Duration(n.BytesPerSecond)
	}
	s.delivering.Go(s.deliver) // ends with the connection, joined by join
	return s
}

type piece struct {
	data []byte
	due  time.Time
}

type slowConn struct {
	net.Conn
	delay, perByte time.Duration
	pieces         chan piece
	ended          chan struct{}
	end            sync.Once
	delivering     sync.WaitGroup
}

func (s *slowConn) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		data := p[sent:min(len(p), sent+chunk)]
		if s.perByte > 0 {
			time.Sleep(s.perByte * time.Duration(len(data)))
		}
		select {
		case s.pieces <- piece{append([]byte(nil), data...), time.Now().Add(s.delay)}:
		case <-s.ended:
			return sent, net.ErrClosed
		}
		sent += len(data)
	}
	return len(p), nil
}

func (s *slowConn) deliver() {
	for {
		select {
		case p := <-s.pieces:
			time.Sleep(time.Until(p.due))
			if _, err := s.Conn.Write(p.data); err != nil {
				s.Close()
			}
		case <-s.ended:
			return
		}
	}
}

// Close ends the line when what is on its way has arrived.
func (s *slowConn) Close() error {
	s.end.Do(func() {
		time.AfterFunc(s.delay, func() {
			close(s.ended)
			s.Conn.Close()
		})
	})
	return nil
}

func (s *slowConn) join() {
	s.Close()
	s.delivering.Wait()
}
