package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// foreign are flags of other programs that the documents show.
var foreign = []string{"--data-binary", "--experimental-websocket"}

// Every flag that the documents name exists.
func TestFlagsOfDocuments(t *testing.T) {
	flag := regexp.MustCompile(`--[a-z][a-z\d-]+`)
	known := make(map[string]bool)
	for _, name := range foreign {
		known[name] = true
	}
	for _, command := range []string{"serve", "pub", "sub", "ws", "check", "bench"} {
		help, _ := duplex(t, exitDone, "", command, "--help")
		for _, name := range flag.FindAllString(help, -1) {
			known[name] = true
		}
		for _, negatable := range regexp.MustCompile(`--\[no-\]([a-z\d-]+)`).FindAllStringSubmatch(help, -1) {
			known["--"+negatable[1]], known["--no-"+negatable[1]] = true, true
		}
	}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(documents, "../../README.md", "../../ARCHITECTURE.md", "../../PROTOCOL.md", "../../CHANGELOG.md", "../../ts/README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, named := range flag.FindAllString(string(text), -1) {
			if !known[named] {
				t.Errorf("%s: there is no %s", name, named)
			}
		}
	}
}

// PROTOCOL.md §11 tells the defaults that the program has.
func TestDefaultsOfProtocol(t *testing.T) {
	protocol, err := os.ReadFile("../../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	help, _ := duplex(t, exitDone, "", "serve", "--help")
	help = strings.Join(strings.Fields(help), " ")
	row := regexp.MustCompile("(?m)^\\| [^|]+ \\| ([^|]+) \\| `(--[a-z-]+)`[^|]* \\|")
	rows := row.FindAllStringSubmatch(string(protocol), -1)
	if len(rows) < 15 {
		t.Fatalf("%d limits have a flag", len(rows))
	}
	for _, r := range rows {
		told, _, _ := strings.Cut(r[1], ", ") // what is said of the default comes then
		told = strings.NewReplacer(",", "", " MiB", "MiB", " KiB", "KiB", " GiB", "GiB", "no limit", "0").Replace(told)
		flag := r[2]
		if flag == "--rule" || flag == "--presence" { // the limits of what they take
			continue
		}
		_, text, _ := strings.Cut(help, " "+flag+"=")
		text, _, _ = strings.Cut(text, "($DUPLEX_")
		if !regexp.MustCompile(`\(default ` + regexp.QuoteMeta(told) + `[):; ]`).MatchString(text) {
			t.Errorf("%s is %s in PROTOCOL.md, in the program: %s", flag, told, text)
		}
	}
}
