// Package xconnect sets http2xconnect=1 in GODEBUG before net/http looks for it.
//
// net/http does so when it is initialised. Packages are initialised in the order of their import
// paths, each as soon as those that it imports are: this one imports nothing that net/http does
// not, and its path is before "net/http", so its turn comes first.
package xconnect

import (
	"os"
	"strings"
)

const variable = "GODEBUG"

// before is what the variable was, if it was.
var before, was = os.LookupEnv(variable)

func init() {
	if strings.Contains(before, "http2xconnect=") {
		return // whoever runs the program has decided
	}
	value := "http2xconnect=1"
	if before != "" {
		value = before + "," + value
	}
	os.Setenv(variable, value) // Enabled of package h2 tells if it failed
}

// Restore gives the variable the value that it had, for what is initialised later and for
// processes that this one starts.
func Restore() {
	if was {
		os.Setenv(variable, before)
	} else {
		os.Unsetenv(variable)
	}
}
