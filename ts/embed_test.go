package ts

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// What is committed is what esbuild makes of the sources.
func TestBundleIsCurrent(t *testing.T) {
	source, err := os.ReadFile("embed.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, generate := range regexp.MustCompile(`(?m)^//go:generate (go tool .*) --outfile=(\S+)$`).FindAllStringSubmatch(string(source), -1) {
		words := strings.Fields(generate[1])
		made := exec.CommandContext(t.Context(), words[0], words[1:]...)
		made.Stderr = t.Output()
		bundle, err := made.Output()
		if err != nil {
			t.Fatal(err)
		}
		committed, err := Files.ReadFile(generate[2])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bundle, committed) {
			t.Errorf("%s is not up to date: go generate ./ts", generate[2])
		}
	}
}

// Pages load it before anything else of Duplex.
func TestBundleIsSmall(t *testing.T) {
	for name, limit := range map[string]int{"dist/client.js": 14 << 10} {
		bundle, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var zipped bytes.Buffer
		w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(bundle)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, %d compressed", name, len(bundle), zipped.Len())
		if zipped.Len() > limit {
			t.Errorf("%s has %d bytes compressed, want %d at most", name, zipped.Len(), limit)
		}
	}
}
