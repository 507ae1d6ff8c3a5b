package stdio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxLine bounds a line in bytes, so that a file without any is refused early.
const MaxLine = 64 << 20

// Lines gives the lines of standard input, without their ends, as they come.
// The last one needs no end. A line is valid until the next step. An error is
// the last step.
func Lines(in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, MaxLine)
		for lines.Scan() {
			if !yield(lines.Bytes(), nil) {
				return
			}
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(nil, fmt.Errorf("standard input: a line of more than %d bytes", MaxLine))
		} else if err != nil {
			yield(nil, fmt.Errorf("read standard input: %w", err))
		}
	}
}
