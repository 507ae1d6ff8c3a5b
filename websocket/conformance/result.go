package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"text/tabwriter"
	"time"
)

// Options of a run. The zero value is useful.
type Options struct {
	// Run, if not nil, selects cases by their ID.
	Run *regexp.Regexp

	// Timeout bounds every wait for the implementation under test. If zero, 5 seconds are used.
	Timeout time.Duration

	// Parallel is how many cases run at a time against a server. If zero, 8 are used. A client
	// decides itself.
	Parallel int

	// Remote allows servers that are not on this machine. The cases are attacks: ask first.
	Remote bool

	// Limit is the message limit, in bytes, that the implementation was told to have. It must be
	// at least 256 KiB. If zero, the cases about limits are skipped.
	Limit int64

	// Subprotocol is one that the implementation was told to speak, and no other. If "", the cases
	// about subprotocols that are agreed on are skipped.
	Subprotocol string

	// SameOrigin says that the implementation refuses requests of pages of other origins.
	SameOrigin bool

	// HandshakeTimeout and MessageTimeout are how long the implementation promises to wait at the
	// most for a handshake, and for the rest of a message. If zero, the cases about them are
	// skipped.
	HandshakeTimeout time.Duration
	MessageTimeout   time.Duration
}

func (o *Options) withDefaults() *Options {
	copied := Options{}
	if o != nil {
		copied = *o
	}
	copied.Timeout = cmp.Or(copied.Timeout, 5*time.Second)
	copied.Parallel = cmp.Or(copied.Parallel, 8)
	return &copied
}

// cases gives what is to be run.
func (o *Options) cases(under Role) []Case {
	var selected []Case
	for _, c := range Cases(under) {
		if o.Run == nil || o.Run.MatchString(c.ID) {
			selected = append(selected, c)
		}
	}
	return selected
}

// Verdict is how a case ended.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
	Skip Verdict = "skip"
)

// Result of a case.
type Result struct {
	Case    string        `json:"case"`
	RFC     string        `json:"rfc"`
	Quote   string        `json:"quote"`
	Level   Level         `json:"level"` // of what failed, or of the case
	Verdict Verdict       `json:"verdict"`
	Took    time.Duration `json:"nanoseconds"`

	Expected string `json:"expected,omitempty"` // of a failure
	Got      string `json:"got,omitempty"`
	Reason   string `json:"reason,omitempty"` // of a skip
}

// Detail says in a line why the verdict is what it is.
func (r Result) Detail() string {
	switch r.Verdict {
	case Fail:
		return "expected " + r.Expected + "; got " + r.Got
	case Skip:
		return r.Reason
	}
	return ""
}

// Failed reports whether any case failed.
func Failed(results []Result) bool {
	for _, r := range results {
		if r.Verdict == Fail {
			return true
		}
	}
	return false
}

// WriteTable writes a line for each result, and a summary.
func WriteTable(w io.Writer, results []Result) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	passed, skipped, failed := 0, 0, map[Level]int{}
	for _, r := range results {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Case, r.Verdict, r.Level, r.RFC, r.Detail())
		switch r.Verdict {
		case Pass:
			passed++
		case Skip:
			skipped++
		case Fail:
			failed[r.Level]++
		}
	}
	fmt.Fprintf(table, "\n%d cases: %d passed, %d failed (%d must, %d should, %d care), %d skipped\n", len(results), passed,
		failed[Must]+failed[Should]+failed[Care], failed[Must], failed[Should], failed[Care], skipped)
	return table.Flush()
}

// WriteJSON writes the results as an array.
func WriteJSON(w io.Writer, results []Result) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(results)
}

// isLoopback reports whether all addresses of host are this machine's.
func isLoopback(host string) bool {
	addresses, err := net.LookupHost(host)
	if err != nil {
		return false
	}
	for _, address := range addresses {
		if ip := net.ParseIP(address); ip == nil || !ip.IsLoopback() {
			return false
		}
	}
	return true
}
