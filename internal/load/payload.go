package load

import (
	"fmt"
	"math/rand/v2"
)

// MinBytes is the size of the shortest message: its number.
const MinBytes = 16

const (
	hexDigits = "0123456789abcdef"
	// A number has the publisher above, and what it counts below.
	countBits = 40
)

// newPattern gives a message of size bytes with the number 0.
func newPattern(size int) ([]byte, error) {
	if size < MinBytes {
		return nil, fmt.Errorf("messages of %d bytes: at least %d are needed for their number", size, MinBytes)
	}
	pattern := make([]byte, size)
	putNumber(pattern, 0)
	for i := MinBytes; i < size; i++ {
		pattern[i] = 'a' + byte(i%23) // no power of two: a shift shows
	}
	return pattern, nil
}

// newJSON gives a text of size bytes that compresses as well as JSON does: to
// about a fifth.
func newJSON(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2)) // the same text each time
	words := []string{"alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"}
	word := func() string { return words[random.IntN(len(words))] }
	text := []byte("[")
	for id := 1000; len(text) < size; id++ {
		text = fmt.Appendf(text, `{"id":%d,"name":"%s %s","active":%t,"price":%d.%02d,"tags":["%s","%s"]},`,
			id, word(), word(), random.IntN(2) == 0, random.IntN(1000), random.IntN(100), word(), word())
	}
	return text[:size]
}

func putNumber(message []byte, number uint64) {
	digits := message[:MinBytes]
	for i := range digits {
		digits[i] = hexDigits[number>>(60-4*i)&0xF]
	}
}

func parseNumber(digits []byte) (number uint64, ok bool) {
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		number = number<<4 | uint64(c)
	}
	return number, true
}

// arrival compares a message with the pattern while it arrives, in pieces of
// any size, so that no message is ever gathered.
type arrival struct {
	at     int // bytes that have arrived
	digits [MinBytes]byte
	wrong  bool
}

func (a *arrival) feed(pattern, piece []byte) {
	if a.at < MinBytes {
		n := copy(a.digits[a.at:], piece)
		a.at += n
		piece = piece[n:]
	}
	if len(piece) == 0 {
		return
	}
	if len(piece) > len(pattern)-a.at || string(piece) != string(pattern[a.at:a.at+len(piece)]) {
		a.wrong = true
	}
	a.at += len(piece)
}

// end gives the number of the message, if all of it was as it should be, and
// makes a ready for the next one.
func (a *arrival) end(pattern []byte) (number uint64, ok bool) {
	number, ok = parseNumber(a.digits[:])
	ok = ok && !a.wrong && a.at == len(pattern)
	a.at, a.wrong = 0, false
	return number, ok
}
