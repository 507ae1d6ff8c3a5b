package view

import (
	"net/http"
	"strconv"
)

// writeBody writes a body and says how long it is. Its chunks are made twice and
// never kept: who takes nothing of an answer costs what it is made from, most of
// which all clients share, and one piece.
func writeBody(w http.ResponseWriter, chunks func(add func(chunk []byte))) {
	length := 0
	chunks(func(c []byte) { length += len(c) })
	w.Header().Set("Content-Length", strconv.Itoa(length))
	out := gathering{send: func(p []byte) error {
		_, err := w.Write(p)
		return err
	}}
	chunks(out.add)
	_ = out.end() // an error means that the client is gone
}

// writeList writes a list in JSON, of which item makes one after the other.
func writeList[T any](w http.ResponseWriter, begin string, items []T, item func(T) []byte, end []byte) {
	w.Header()["Content-Type"] = isJSON
	writeBody(w, func(add func([]byte)) {
		add([]byte(begin))
		for i, v := range items {
			if i > 0 {
				add(comma)
			}
			add(item(v))
		}
		add(end)
	})
}

var comma = []byte{','}
