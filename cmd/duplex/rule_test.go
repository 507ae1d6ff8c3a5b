package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

func TestRule(t *testing.T) {
	parsed := func(s string) topic.Pattern {
		p, err := topic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for text, want := range map[string]rule{
		"quotes/**: retain-events=1, slow=conflate, batch=16ms": {Pattern: parsed("quotes/**"), RetainEvents: new(1), Slow: topic.SlowConflate, Batch: 16 * time.Millisecond},
		"a:b/*:retain-events=0":                                 {Pattern: parsed("a:b/*"), RetainEvents: new(0)},
		" a : retain-age = 1h , slow=conflate-types ":           {Pattern: parsed("a"), RetainAge: time.Hour, Slow: topic.SlowConflateTypes},
		"a: slow=drop":   {Pattern: parsed("a"), Slow: topic.SlowDrop},
		"a: slow=resume": {Pattern: parsed("a")},
		"a:":             {Pattern: parsed("a")},
	} {
		var got rule
		if err := got.UnmarshalText([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                      "want PATTERN: NAME=VALUE",
		"quotes":                "want PATTERN: NAME=VALUE",
		": batch=1s":            "is empty",
		"a*b: batch=1s":         `has a "*" that is not a whole segment`,
		"a: bach=1s":            `no setting is called "bach": there are batch, retain-age, retain-events, slow`,
		"a: batch=1s,":          `no setting is called ""`,
		"a: batch=1s, batch=2s": "batch is set twice",
		"a: batch=16":           "batch: want a time",
		"a: retain-age=-1h":     "retain-age: want a time",
		"a: retain-events=many": "retain-events: want a number",
		"a: retain-events=-1":   "retain-events: want a number",
		"a: slow=fast":          "slow: want one of resume, conflate, conflate-types, drop",
		"a: slow":               "slow: want one of",
	} {
		var got rule
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestServeRefusesRules(t *testing.T) {
	for want, args := range map[string][]string{
		"want PATTERN":                            {"--rule", "a"},
		"is more than --retain-events, 5":         {"--retain-events", "5", "--rule", "a: retain-events=6"},
		"is more than --retain-age, 1h":           {"--retain-age", "1h", "--rule", "a: retain-age=2h"},
		"keeps no events":                         {"--rule", "a: retain-events=0, slow=drop"},
		"a batching interval that is not from 0":  {"--rule", "a: batch=11s"},
		"--max-lag-time: must not be less than 0": {"--max-lag-time=-1s"},
	} {
		if _, notes := duplex(t, exitUsage, "", append([]string{"serve", "--memory", "--listen", "127.0.0.1:0"}, args...)...); !strings.Contains(notes, want) {
			t.Errorf("%q: %q, want %q", args, notes, want)
		}
	}
}

// The flag, the environment and the file say the same: the first rule that
// matches counts, and an ephemeral topic has no history.
func TestServeRules(t *testing.T) {
	check := func(url string) {
		t.Helper()
		for _, name := range []string{"game/1", "game/1/chat", "quotes/a"} {
			duplex(t, exitDone, "1\n2\n3\n", "pub", name, "-", "--server", url)
		}
		out, _ := duplex(t, exitDone, "", "sub", "**", "--as", "poll", "--limit", "4", "--after", "earliest", "--server", url)
		var got []string
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			got = append(got, fields[1]+"="+fields[3])
		}
		if want := "game/1/chat=1 game/1/chat=2 game/1/chat=3 quotes/a=3"; strings.Join(got, " ") != want {
			t.Errorf("kept: %q, want %q", got, want)
		}
	}
	check(serve(t, "--rule", "game/*/chat:", "--rule", "game/**: retain-events=0", "--rule", "quotes/**: retain-events=1, slow=conflate, batch=16ms"))

	file := filepath.Join(t.TempDir(), "duplex.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("max-lag-time: 1m\nmax-lag-bytes: 1MiB\nrule:\n- pattern: game/*/chat\n- 'game/**: retain-events=0'\n- pattern: quotes/**\n  retain-events: 1\n  slow: conflate\n")
	check(serve(t, "--config", file))
	for text, want := range map[string]string{
		"rule: [{slow: drop}]\n":                       "rule: want a pattern",
		"rule: [{pattern: a, slow: [drop]}]\n":         "rule: slow: want a value",
		"rule: [{pattern: a, slow: drop, x: 1}]\n":     `no setting is called "x"`,
		"listen: [{pattern: a}]\n":                     "listen: want a value or a list of values",
		"rule: {pattern: a}\n":                         "rule: want a value or a list of values",
		"rule:\n- pattern: a\n  retain-events: lots\n": "retain-events: want a number",
	} {
		write(text)
		if _, notes := duplex(t, exitUsage, "", "serve", "--memory", "--listen", "127.0.0.1:0", "--config", file); !strings.Contains(notes, want) {
			t.Errorf("%q: %q, want %q", text, notes, want)
		}
	}
	t.Setenv("DUPLEX_RULE", "game/*/chat:\ngame/**: retain-events=0\nquotes/**: retain-events=1")
	check(serve(t))
}
