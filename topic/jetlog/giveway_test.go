package jetlog

import (
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// Others may ask for their turn while a node reads the stream, which is nobody
// else's business before it has.
func TestTurnWhileReading(t *testing.T) {
	n := newStream(natsServer(t, t.TempDir(), -1))
	l := openAt(t, &Options{NATS: n})
	defer l.Close()
	for range 200 {
		appendText1(t, l, "a", "1")
	}
	nc, err := nats.Connect(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var asking sync.WaitGroup
	defer asking.Wait()
	stop := make(chan struct{})
	defer close(stop)
	// Ends with stop. Joined above.
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = nc.Publish(l.remote.subjects+turnSubject, []byte("1 1")) // by no node
			_ = nc.Flush()
		}
	})
	for range 5 {
		other := openAt(t, &Options{NATS: n})
		appendText1(t, other, "a", "2")
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}
