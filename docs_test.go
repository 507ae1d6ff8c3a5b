package duplex

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// texts are the files of the project that people read and write, by their paths.
func texts(t *testing.T) map[string]string {
	t.Helper()
	kinds := []string{".go", ".md", ".ts", ".mjs", ".js", ".css", ".html", ".json"}
	files := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // another test has removed it
			return nil
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || path != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains(kinds, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Every section of PROTOCOL.md that is cited, there or elsewhere, exists.
func TestSections(t *testing.T) {
	files := texts(t)
	protocol := files["PROTOCOL.md"]
	known := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^#+ §([\d.]+) `).FindAllStringSubmatch(protocol, -1) {
		known[heading[1]] = true
	}
	cited := regexp.MustCompile(`PROTOCOL(?:\.md)?[^§\n]{0,3}(§\d[\d.]*(?:(?:,| and| or) §\d[\d.]*)*)`)
	section := regexp.MustCompile(`§(\d+(?:\.\d+)*)`)
	citations := 0
	check := func(path, text string) {
		for _, s := range section.FindAllStringSubmatch(text, -1) {
			if citations++; !known[s[1]] {
				t.Errorf("%s: PROTOCOL.md has no §%s", path, s[1])
			}
		}
	}
	for path, text := range files {
		for _, c := range cited.FindAllStringSubmatch(text, -1) {
			check(path, c[1])
		}
	}
	check("PROTOCOL.md", regexp.MustCompile(`RFC \d+,? §[\d.]+`).ReplaceAllString(protocol, ""))
	if len(known) < 50 || citations < 300 {
		t.Errorf("%d sections, cited %d times", len(known), citations)
	}
}

// What the documents name in the tree, or link to, is there.
func TestPaths(t *testing.T) {
	files := texts(t)
	folders := make(map[string]bool)
	for path := range files {
		for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	there := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	link := regexp.MustCompile(`\]\(([^)#:, ]+\.md|[^)#:. ,]+/[^)#:. ,]*)(?:#[^)]*)?\)`)
	for path, text := range files {
		if filepath.Ext(path) != ".md" {
			continue
		}
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			if !there(filepath.Join(filepath.Dir(path), l[1])) {
				t.Errorf("%s links to %s", path, l[1])
			}
		}
	}
	named := regexp.MustCompile("`([a-z][\\w-]*/)*[\\w-]+\\.(go|ts|css)`")
	for _, name := range named.FindAllString(files["ARCHITECTURE.md"], -1) {
		name = strings.Trim(name, "`")
		known := func(path string) bool { return path == name || strings.HasSuffix(path, "/"+name) }
		found := false
		for path := range files {
			found = found || known(path)
		}
		if !found {
			t.Errorf("ARCHITECTURE.md names %s", name)
		}
	}
	for name := range arrows {
		// What is internal to a package is that package's own affair.
		if inner := strings.LastIndex(name, "/internal/"); inner > 0 && !strings.HasPrefix(name, "topic/") {
			continue
		}
		if !strings.Contains(files["ARCHITECTURE.md"]+files["README.md"], name) {
			t.Errorf("neither ARCHITECTURE.md nor README.md names %s", name)
		}
		if !folders[name] {
			t.Errorf("there is no %s", name)
		}
	}
}
