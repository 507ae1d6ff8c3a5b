//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readmeCode are the snippets of README.md in a language, for a server.
func readmeCode(t *testing.T, language, address string) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var snippets []string
	for _, block := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		snippets = append(snippets, strings.ReplaceAll(block[1], "127.0.0.1:8080", address))
	}
	if snippets == nil {
		t.Fatalf("README.md has no %s", language)
	}
	return snippets
}

// untilSaid waits until a program, which goes on for ever, has printed the event
// that it has published.
func untilSaid(t *testing.T, p *process, what string) {
	t.Helper()
	until(t, what, func() bool {
		if p.hasEnded() {
			t.Fatalf("it has ended: %s%s", p.stdout.String(), p.stderr.String())
		}
		return strings.Contains(p.stdout.String(), what)
	})
}

func TestReadmeShell(t *testing.T) {
	s := serve(t)
	curl := func(flag string) *process {
		for _, snippet := range readmeCode(t, "sh", s.addr) {
			if strings.HasPrefix(snippet, "curl "+flag) {
				return start(t, command(tool(t, "sh", "dash"), "-c", "exec "+snippet))
			}
		}
		t.Fatalf("README.md has no curl %s", flag)
		return nil
	}
	watching := curl("-N")
	untilSaid(t, watching, "event: $ping")
	if publishing := curl("-d"); publishing.exitCode(t) != 0 {
		t.Fatal(publishing.stderr.String())
	}
	untilSaid(t, watching, "data: hello")
}

func TestReadmePython(t *testing.T) {
	for _, snippet := range readmeCode(t, "python", serve(t).addr) {
		untilSaid(t, start(t, command(tool(t, debianPython, "python3"), "-c", snippet)), " hello\n")
	}
}

func TestReadmeGo(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for _, snippet := range readmeCode(t, "go", serve(t).addr) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"main.go": snippet,
			"go.sum":  string(sums),
			"go.mod":  "module example\n\ngo 1.26\n\nrequire github.com/duplexhq/duplex v0.0.0\n\nreplace github.com/duplexhq/duplex => " + root + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		build := command("go", "build", "-mod=mod", "-o", "example", ".")
		build.Dir = dir
		run(t, build)
		untilSaid(t, start(t, command(filepath.Join(dir, "example"))), " chat/lobby hello\n")
	}
}

func TestReadmePage(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	snippets := readmeCode(t, "js", f.addr)
	heard := []string{`heard.filter((said) => said.includes("hello")).length >= 3`, `heard.includes('["chat/lobby",{"text":"hello"}]')`}
	if len(snippets) != len(heard) {
		t.Fatalf("README.md has %d pages", len(snippets))
	}
	for i, snippet := range snippets {
		p := newTab(t, f.url+"/page")
		// A script is no module, which alone may import and await like that.
		script := regexp.MustCompile(`(?m)^import (.*) from (".*");$`).ReplaceAllString(snippet, `const $1 = await import($2);`)
		p.run(`heard = []; ((console) => { (async () => {` + script + `})() })({ log: (...said) => heard.push(JSON.stringify(said)) })`)
		p.until(heard[i])
		p.checkQuiet()
	}
}
