package wstalk

import (
	"context"
	"io"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
)

// An input is read line by line.
type input struct {
	lines <-chan string
	err   error // to be read when lines is closed
}

// readInput starts to read. It is not joined, because nothing can interrupt a
// read of standard input; it holds up nothing else.
func readInput(ctx context.Context, in io.Reader) *input {
	lines := make(chan string)
	i := &input{lines: lines}
	// Ends with the input.
	go func() {
		defer close(lines)
		for line, err := range stdio.Lines(in) {
			if err != nil {
				i.err = err
				return
			}
			select {
			case lines <- string(line):
			case <-ctx.Done():
				return
			}
		}
	}()
	return i
}
