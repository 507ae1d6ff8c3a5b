//go:build unix

package server

import (
	"math"
	"syscall"
)

// openFiles is how many files, and so connections, the process may have open; 0 if
// nobody says. The runtime has asked for as many as it may have.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) // it is signed on some systems
}
