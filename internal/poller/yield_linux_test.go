package poller

import (
	"os"
	"runtime"
	"testing"
)

// Who waits for the network runs beside somebody who works without a pause, if
// that one yields.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	read := make(chan byte, 1)
	go func() { // Ends when it has read, or the pipe is closed.
		var b [1]byte
		for {
			if _, err := in.Read(b[:]); err != nil {
				return
			}
			read <- b[0]
		}
	}()
	for range 100 {
		if _, err := out.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		yields := 0
		for len(read) == 0 {
			Yield()
			if yields++; yields > 1000 {
				t.Fatal("yielding does not let it run")
			}
		}
		<-read
	}
}

func BenchmarkYield(b *testing.B) {
	for b.Loop() {
		Yield()
	}
}
