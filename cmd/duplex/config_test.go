package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command line wins over the environment, and the environment over the
// file.
func TestWhoWins(t *testing.T) {
	url := serve(t)
	file := filepath.Join(t.TempDir(), "duplex.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("server: " + url + "\nevent: file\nretain-events: 5 # of another command\nallow-origin: [https://a.example, 'https://b.example']\njson: false\n")
	last := func() string {
		t.Helper()
		out, _ := duplex(t, exitDone, "", "sub", "a", "--as", "poll", "--limit", "1", "--after", "earliest", "--server", url)
		return strings.Fields(out)[2]
	}
	publish := func(args ...string) {
		t.Helper()
		duplex(t, exitDone, "", append([]string{"pub", "--config", file}, args...)...)
	}
	publish("a", "x")
	if got := last(); got != "file" {
		t.Errorf("type %q, want that of the file", got)
	}
	t.Setenv("DUPLEX_EVENT", "environment")
	publish("b", "x")
	publish("c", "x", "--event", "flag")
	out, _ := duplex(t, exitDone, "", "sub", "b", "c", "--limit", "2", "--after", "earliest", "--server", url)
	if !strings.Contains(out, "  b  environment  x\n") || !strings.Contains(out, "  c  flag  x\n") {
		t.Errorf("printed %q", out)
	}

	t.Setenv("DUPLEX_CONFIG", file)
	duplex(t, exitDone, "", "pub", "d", "x") // the file names the server

	for text, want := range map[string]string{
		"servre: x\n":                     `no flag is called "servre"`,
		"config: x\n":                     `no flag is called "config"`,
		"listen: {a: b}\n":                "listen: want a value or a list of values",
		"listen: [[a]]\n":                 "listen: want a value or a list of values",
		"a: b: c\n":                       "configuration: yaml: ",
		"event: x\nevent: y\n":            "already defined",
		"- list\n":                        "configuration: yaml: ",
		"server: http://x/?no=query\n":    "has a query",
		"retain-events: many\nserver: \n": "", // of another command, and no value
	} {
		write(text)
		code := exitUsage
		args := []string{"pub", "e", "x"}
		if want == "" {
			code, args = exitDone, append(args, "--server", url)
		}
		if _, notes := duplex(t, code, "", args...); !strings.Contains(notes, want) {
			t.Errorf("%q: %q", text, notes)
		}
	}
	duplex(t, exitUsage, "", "pub", "e", "x", "--config", file+"-that-is-not-there")
}

func TestServeByFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "duplex.yaml")
	if err := os.WriteFile(file, []byte("max-event-bytes: 1KiB\nretain-age: 1h\nmax-connections: 9\nlog-level: debug\nallow-origin:\n- https://a.example\nmemory: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, "--config", file)
	duplex(t, exitDone, strings.Repeat("x", 1024), "pub", "a", "--server", url)
	duplex(t, exitRefused, strings.Repeat("x", 1025), "pub", "a", "--server", url)
	if _, notes := duplex(t, exitRefused, "", "ws", url+"/topics/a", "--origin", "https://b.example"); !strings.Contains(notes, "origin-refused") {
		t.Errorf("notes %q", notes)
	}
	duplex(t, exitDone, "", "ws", url+"/topics/a", "--origin", "https://a.example", "--wait", "1ms")
}

func TestSize(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "1048576": 1 << 20, "512KiB": 512 << 10, "1MiB": 1 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40,
		"10MB": 1e7, "3kB": 3000, "3KB": 3000, "7GB": 7e9, "1TB": 1e12, "9B": 9,
		"": -1, "x": -1, "-1": -1, "1.5MiB": -1, "1mib": -1, "MiB": -1, "8388608TiB": -1, "9223372036854775808": -1, "1 MiB x": -1,
	} {
		got := size(-1)
		if err := got.UnmarshalText([]byte(text)); (err == nil) != (want >= 0) || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}
