package ts

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bundles is what embed.go has esbuild make: commands by the file that they
// write.
func bundles(t *testing.T) map[string][]string {
	t.Helper()
	source, err := os.ReadFile("embed.go")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, generate := range regexp.MustCompile(`(?m)^//go:generate (go tool .*) --outfile=(\S+)$`).FindAllStringSubmatch(string(source), -1) {
		all[generate[2]] = strings.Fields(generate[1])
	}
	return all
}

func esbuild(t *testing.T, command []string) []byte {
	t.Helper()
	// So that the go command runs the test again when a source has changed.
	if err := fs.WalkDir(os.DirFS("src"), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			_, err = os.Stat(filepath.Join("src", name))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	made := exec.CommandContext(t.Context(), command[0], command[1:]...)
	made.Stderr = t.Output()
	bundle, err := made.Output()
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// What is committed is what esbuild makes of the sources.
func TestBundleIsCurrent(t *testing.T) {
	for file, command := range bundles(t) {
		committed, err := Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(esbuild(t, command), committed) {
			t.Errorf("%s is not up to date: go generate ./ts", file)
		}
	}
}

// What is shortened is no name that others use.
func TestBundleKeepsPublicNames(t *testing.T) {
	types, err := Files.ReadFile("dist/client.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`^--mangle-props=\^\((.*)\)\\z$`)
	found := 0
	for _, command := range bundles(t) {
		for _, word := range command {
			names := list.FindStringSubmatch(word)
			if names == nil {
				continue
			}
			found++
			if name := regexp.MustCompile(`\b(` + names[1] + `)\??[:(<]`).Find(types); name != nil {
				t.Errorf("%q is in client.d.ts", name)
			}
		}
	}
	if found == 0 {
		t.Error("no list of names that are shortened")
	}
}

// Pages load it before anything else of Duplex.
func TestBundleIsSmall(t *testing.T) {
	command := bundles(t)["dist/client.js"]
	core := append(command[:len(command):len(command)], "--external:./outbox.ts")
	for i, word := range core {
		if word == "src/index.ts" {
			core[i] = "src/client.ts"
		}
	}
	for _, part := range []struct {
		name   string
		bundle []byte
		limit  int
	}{
		{"all of it", esbuild(t, command), 14 << 10},
		{"the core: without outbox, tabs and presence", esbuild(t, core), 8 << 10},
	} {
		var zipped bytes.Buffer
		w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(part.bundle) // to memory
		_ = w.Close()
		t.Logf("%s: %d bytes, %d compressed", part.name, len(part.bundle), zipped.Len())
		if zipped.Len() > part.limit {
			t.Errorf("%s has %d bytes compressed, want %d at most", part.name, zipped.Len(), part.limit)
		}
	}
}
