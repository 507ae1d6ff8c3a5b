package message

import "encoding/binary"

// Fields reads numbers and texts, one after the other. After an error they are
// zero.
type Fields struct {
	Rest []byte
	Err  error
}

// Text reads a text with its length before it.
func (f *Fields) Text() []byte { return f.Take(f.length()) }

func (f *Fields) length() int {
	n := f.Number()
	if n > uint64(len(f.Rest)) {
		f.fail()
		return 0
	}
	return int(n)
}

// Number reads an unsigned varint.
func (f *Fields) Number() uint64 {
	n, size := binary.Uvarint(f.Rest)
	if size <= 0 {
		f.fail()
		return 0
	}
	f.Rest = f.Rest[size:]
	return n
}

// fixed reads a number of 8 bytes.
func (f *Fields) fixed() uint64 {
	b := f.Take(8)
	if f.Err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// Take reads so many bytes.
func (f *Fields) Take(n int) []byte {
	if f.Err != nil || n > len(f.Rest) {
		f.fail()
		return nil
	}
	b := f.Rest[:n:n]
	f.Rest = f.Rest[n:]
	return b
}

func (f *Fields) fail() {
	f.Err = ErrFormat
	f.Rest = nil
}
