package view

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

// A stalledWriter takes its first piece when it is let go.
type stalledWriter struct {
	header  http.Header
	begun   *sync.WaitGroup
	release <-chan struct{}
	once    sync.Once
}

func (w *stalledWriter) Header() http.Header { return w.header }
func (w *stalledWriter) WriteHeader(int)     {}
func (w *stalledWriter) Write(p []byte) (int, error) {
	w.once.Do(w.begun.Done)
	<-w.release
	return len(p), nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what a sync.Pool keeps goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Who takes nothing of a long answer holds a piece of it, and no copy of what all
// who ask for it share.
func TestStalledReaders(t *testing.T) {
	const readers, most = 20, 128 << 10 // bytes of each: lists have some for each row
	h := openHandler(t, nil, nil)
	post := func(path, data, media string) {
		if w := ask(h, "POST", path, data, "Content-Type: "+media); w.Code != 201 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	big := strings.Repeat("<", 1<<20) // which is four times as long in HTML
	post("/topics/text", big, "text/plain")
	post("/topics/binary", big, "application/octet-stream")
	post("/topics/image", big, "image/png")
	for range 50 {
		post("/topics/several", big[:20<<10], "text/plain")
	}
	name := strings.Repeat("é", 125)
	for i := range 1000 {
		if _, err := h.hub.Log().Append(t.Context(), string(rune('a'+i%26))+string(rune('a'+i/26))+name, []topic.Draft{{}}, topic.Key{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		"/topics/text", "/topics/binary", "/topics/several", "/topics?limit=1000",
		"/topics/text?as=html", "/topics/binary?as=html", "/topics/image?as=html", "/topics/several?as=html", "/topics?limit=1000&as=html",
	} {
		length := ask(h, "GET", path, "").Body.Len()
		if length <= 2*most {
			t.Errorf("%s: only %d bytes", path, length)
		}
		before := heap()
		release := make(chan struct{})
		var begun, served sync.WaitGroup
		begun.Add(readers)
		for range readers {
			served.Go(func() {
				h.ServeHTTP(&stalledWriter{header: make(http.Header), begun: &begun, release: release}, httptest.NewRequest("GET", path, nil))
			})
		}
		begun.Wait()
		held := (heap() - before) / readers
		close(release)
		served.Wait()
		if held > most {
			t.Errorf("%s: a reader of %d bytes holds %d", path, length, held)
		}
	}
}
