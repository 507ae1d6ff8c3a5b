//go:build !unix

package jetlog

import "os"

// lock does nothing where there is no lock that ends with its process. Only
// one process may use a directory.
func lock(*os.File) error { return nil }

func unlock(*os.File) error { return nil }

// writable is not known before something is written.
func writable(string) error { return nil }

// syncFolder does nothing where folders cannot be synced.
func syncFolder(string) error { return nil }
