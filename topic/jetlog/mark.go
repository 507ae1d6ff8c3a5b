package jetlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
)

// mark is a file with the number of the newest entry that was acknowledged. It is
// written, but not synced, before the acknowledgement: so it outlives the process
// as the entries do, and a start knows if the end of the log is not there any more.
//
//	number    8 bytes, little endian
//	checksum  4 bytes, little endian: CRC-32C of the number
type mark struct {
	file *os.File
	text [markBytes]byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	markFile  = "end"
	markBytes = 12
)

// openMark opens the file, which it makes if it is not there, and returns what it
// says: 0 if that is nothing, or damaged.
func (d *directory) openMark() (m *mark, seq uint64, err error) {
	f, err := os.OpenFile(d.file(markFile), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, 0, err
	}
	var b [markBytes]byte
	switch _, err := f.ReadAt(b[:], 0); {
	case errors.Is(err, io.EOF):
		return &mark{file: f}, 0, nil
	case err != nil:
		return nil, 0, errors.Join(err, f.Close())
	}
	number := b[:8]
	if crc32.Checksum(number, castagnoli) == binary.LittleEndian.Uint32(b[8:]) {
		seq = binary.LittleEndian.Uint64(number)
	}
	return &mark{file: f}, seq, nil
}

// set says that the entries up to seq are about to be acknowledged. One goroutine
// may call it at a time.
func (m *mark) set(seq uint64) error {
	b := m.text[:]
	binary.LittleEndian.PutUint64(b, seq)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	_, err := m.file.WriteAt(b, 0)
	return err
}
