package presence

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/duplexhq/duplex/topic"
)

// beginnings is the topic of an event for each recorder that began, of those
// that have the log to themselves.
const beginnings = "$presence"

// Prefix and the name of a topic make the topic of its joins and leaves.
const Prefix = "$presence/"

// nodesPrefix and the name of a node make the topic of what it tells the others
// (PROTOCOL.md §14.5).
const nodesPrefix = "$nodes/"

const (
	// MaxMemberBytes bounds the name of a member.
	MaxMemberBytes = 128
	// MaxPatterns bounds Options.Patterns: whoever begins is compared with each.
	MaxPatterns = 256

	// own begins the names that a recorder makes for connections without one.
	own = "$"
)

// Of returns the topic whose joins and leaves a topic or a pattern has.
func Of(name string) (of string, ok bool) { return strings.CutPrefix(name, Prefix) }

// CheckMember refuses, with a *MemberError, what no member may be called: a name
// is 1 to 128 bytes of UTF-8 without control characters, and does not begin
// with "$".
func CheckMember(name string) error {
	switch {
	case name == "":
		return &MemberError{"is empty"}
	case len(name) > MaxMemberBytes:
		return &MemberError{"is longer than 128 bytes"}
	case !utf8.ValidString(name):
		return &MemberError{"is not valid UTF-8"}
	case strings.ContainsFunc(name, unicode.IsControl): // C0, DEL and C1
		return &MemberError{"holds a control character"}
	case strings.HasPrefix(name, own):
		return &MemberError{`begins with "$", which only the server's own may`}
	}
	return nil
}

// A MemberError says why a member cannot be called so.
type MemberError struct{ Reason string }

func (e *MemberError) Error() string { return "presence: the name of a member " + e.Reason }

// ErrTooManyMembers refuses a member beyond Options.MaxMembers.
var ErrTooManyMembers = errors.New("presence: too many members")

// makeName names a connection. It is another one each time, on any server.
func makeName() string { return own + rand.Text()[:15] } // 75 random bits

// Rules are the rules of the others and those of presence. Joins and leaves are
// kept so long that a client may be away for a while, and no longer, because the
// table has it all; unless one of the others says otherwise. Of what a node
// tells the others, the last is kept, so that it is known for as long as it lives.
func Rules(others []topic.Rule) []topic.Rule {
	rules := []topic.Rule{{Pattern: mustPattern(nodesPrefix + "*"), RetainEvents: new(1), RetainAge: time.Minute}}
	rules = append(rules, others...)
	return append(rules, topic.Rule{Pattern: mustPattern(Prefix + "**"), RetainEvents: new(1000), RetainAge: 10 * time.Minute})
}

// mustPattern parses a constant.
func mustPattern(text string) topic.Pattern {
	pattern, err := topic.ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return pattern
}

// checkPatterns refuses those that no topic can have which is published to.
func checkPatterns(patterns []topic.Pattern) error {
	if len(patterns) > MaxPatterns {
		return fmt.Errorf("presence: %d patterns, at most %d are possible", len(patterns), MaxPatterns)
	}
	for _, p := range patterns {
		for segment := range p.Segments() {
			if strings.HasPrefix(segment, "$") {
				return fmt.Errorf("presence: %q is of the system's topics, of which nobody is a member", p)
			}
		}
	}
	return nil
}
