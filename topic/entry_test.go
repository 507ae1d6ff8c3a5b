package topic

import (
	"sync"
	"testing"
)

// crowded is a form in which all begin before one is ready.
type crowded struct {
	copied
	begun *sync.WaitGroup
}

func (f crowded) AppendEvent(dst []byte, e *Event) []byte {
	f.begun.Done()
	f.begun.Wait()
	return f.copied.AppendEvent(dst, e)
}

// Of those who encode an entry at the same time, one has its bytes kept, and all
// take them.
func TestEncodeAtTheSameTime(t *testing.T) {
	const crowd = 20
	e := tailEntry(1, 100)
	var begun, ready sync.WaitGroup
	begun.Add(crowd)
	taken := make([][]byte, crowd)
	for i := range taken {
		ready.Go(func() { taken[i] = e.Encode(crowded{begun: &begun}) })
	}
	ready.Wait()
	for i, b := range taken {
		if len(b) != 100 || &b[0] != &taken[0][0] {
			t.Errorf("the bytes of %d are others", i)
		}
	}
	kept := 0
	for n := e.encoded.Load(); n != nil; n = n.next {
		kept++
	}
	if kept != 1 {
		t.Errorf("%d encodings are kept", kept)
	}
}
