package keep

import (
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// A comparison finds the first of some patterns that matches a name. There may be
// many, and long ones: then a matcher is made, which costs about what some names
// do without.
type comparison struct {
	patterns []topic.Pattern
	compared int
	matcher  *topic.Matcher
}

const (
	// compareEach is how many patterns are compared with before there is a matcher.
	compareEach = 4096
	// matchAtOnce is how many a matcher has compared while one is compared else.
	matchAtOnce = 64
)

// first returns the index of the pattern, -1 if none matches, and the work that it
// was: one for each that was compared.
func (c *comparison) first(name string) (index, work int) {
	switch {
	case c.matcher != nil:
		return c.matcher.First(name), 1 + len(c.patterns)/matchAtOnce
	case c.compared+len(c.patterns) > compareEach && len(c.patterns) > matchAtOnce:
		c.matcher = topic.NewMatcher(c.patterns)
		return c.matcher.First(name), len(c.patterns)
	}
	c.compared += len(c.patterns)
	index = slices.IndexFunc(c.patterns, func(p topic.Pattern) bool { return p.Match(name) })
	return index, len(c.patterns)
}
