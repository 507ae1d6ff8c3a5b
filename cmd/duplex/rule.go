package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// A rule is written as PATTERN: NAME=VALUE, ...
type rule topic.Rule

// ruleSettings are the names that a rule may set.
var ruleSettings = map[string]func(r *rule, value string) error{
	"retain-events": func(r *rule, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return errors.New("want a number of events: 0 keeps none, 1 the last value")
		}
		r.RetainEvents = &n
		return nil
	},
	"retain-age": func(r *rule, value string) (err error) {
		r.RetainAge, err = ruleTime(value)
		return err
	},
	"slow": func(r *rule, value string) error {
		i := slices.Index(slowNames, value)
		if i < 0 {
			return fmt.Errorf("want one of %s", strings.Join(slowNames, ", "))
		}
		r.Slow = topic.Slow(i)
		return nil
	},
	"batch": func(r *rule, value string) (err error) {
		r.Batch, err = ruleTime(value)
		return err
	},
}

// slowNames name the values of topic.Slow.
var slowNames = []string{
	topic.SlowResume:        "resume",
	topic.SlowConflate:      "conflate",
	topic.SlowConflateTypes: "conflate-types",
	topic.SlowDrop:          "drop",
}

func ruleTime(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, errors.New("want a time, as 16ms or 1h")
	}
	return d, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *rule) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	i := strings.LastIndexByte(s, ':') // a pattern may have one, too
	if i < 0 {
		return fmt.Errorf("rule %q: want PATTERN: NAME=VALUE, ..., as 'quotes/**: retain-events=1, batch=16ms'", s)
	}
	pattern, err := topic.ParsePattern(strings.TrimSpace(s[:i]))
	if err != nil {
		return fmt.Errorf("rule %q: %s", s, strings.TrimPrefix(err.Error(), "topic: "))
	}
	*r = rule{Pattern: pattern}
	seen := make(map[string]bool)
	for setting := range strings.SplitSeq(s[i+1:], ",") {
		name, value, _ := strings.Cut(setting, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		set := ruleSettings[name]
		switch {
		case strings.TrimSpace(setting) == "" && strings.TrimSpace(s[i+1:]) == "":
			continue // a rule that keeps others from matching
		case set == nil:
			return fmt.Errorf("rule %q: no setting is called %q: there are %s", s, name, strings.Join(slices.Sorted(maps.Keys(ruleSettings)), ", "))
		case seen[name]:
			return fmt.Errorf("rule %q: %s is set twice", s, name)
		}
		seen[name] = true
		if err := set(r, value); err != nil {
			return fmt.Errorf("rule %q: %s: %w", s, name, err)
		}
	}
	return nil
}

// ruleText makes of a mapping in a file what UnmarshalText reads.
func ruleText(mapping map[string]any) (string, error) {
	pattern, ok := mapping["pattern"].(string)
	if !ok {
		return "", errors.New("configuration: rule: want a pattern")
	}
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(mapping)) {
		if name == "pattern" {
			continue
		}
		value, err := scalar("rule: "+name, mapping[name])
		if err != nil {
			return "", err
		}
		settings = append(settings, name+"="+value)
	}
	return pattern + ": " + strings.Join(settings, ", "), nil
}

// checkRules refuses rules that would keep more than the server does.
func (c *serveCommand) checkRules() error {
	for i := range c.Rule {
		r := &c.Rule[i]
		if n := r.RetainEvents; n != nil && c.RetainEvents > 0 && *n > c.RetainEvents {
			return fmt.Errorf("--rule: %s: retain-events=%d is more than --retain-events, %d: a rule can only keep fewer", r.Pattern, *n, c.RetainEvents)
		}
		if c.RetainAge > 0 && r.RetainAge > c.RetainAge {
			return fmt.Errorf("--rule: %s: retain-age=%v is more than --retain-age, %v: a rule can only keep events for a shorter time", r.Pattern, r.RetainAge, c.RetainAge)
		}
	}
	if _, err := topic.NewRules(c.rules()...); err != nil {
		return fmt.Errorf("--rule: %s", strings.TrimPrefix(err.Error(), "topic: "))
	}
	return nil
}

func (c *serveCommand) rules() []topic.Rule {
	rules := make([]topic.Rule, len(c.Rule))
	for i, r := range c.Rule {
		rules[i] = topic.Rule(r)
	}
	return rules
}
