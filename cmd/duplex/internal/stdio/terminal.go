package stdio

import (
	"fmt"
	"os"
	"strings"
	"unicode"
)

// IsTerminal reports whether a person is at the other end of an input or
// output.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// EraseLine has a terminal begin its line anew.
const EraseLine = "\r\x1b[K"

// Printable keeps what comes from strangers from commanding the terminal, and
// on one line.
func Printable(s string) string {
	if !strings.ContainsFunc(s, isCommand) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case isCommand(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isCommand reports whether a terminal may obey the character.
func isCommand(r rune) bool { return r != '\t' && unicode.IsControl(r) }
