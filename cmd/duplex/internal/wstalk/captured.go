package wstalk

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
)

// captured is the text that the groups of regular expressions have matched, by
// number and by name.
type captured map[string]string

var variable = regexp.MustCompile(`\$(?:\$|\d+|\{\w+\})`)

// usesCaptured reports whether text has variables.
func usesCaptured(text string) bool {
	return slices.ContainsFunc(variable.FindAllString(text, -1), func(v string) bool { return v != "$$" })
}

// expand puts the values in place of the variables, quoted for where they
// stand.
func (c captured) expand(text string, quote func(string) string) (string, error) {
	var err error
	text = variable.ReplaceAllStringFunc(text, func(v string) string {
		if v == "$$" {
			return "$"
		}
		value, ok := c[strings.Trim(v, "${}")]
		if !ok && err == nil {
			err = fmt.Errorf("nothing was captured as %s; write $$ for $", v)
		}
		return quote(value)
	})
	return text, err
}

// match keeps what the groups of a match have matched.
func (c captured) match(re *regexp.Regexp, groups []string) {
	for i, name := range re.SubexpNames() {
		c[strconv.Itoa(i)] = groups[i]
		if name != "" {
			c[name] = groups[i]
		}
	}
}

// The forms of quote.

func asIs(value string) string { return value }

func asJSON(value string) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(stdio.JSON(value)), `"`), `"`)
}
