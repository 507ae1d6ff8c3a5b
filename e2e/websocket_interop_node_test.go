//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestNodeWebSocketPeers(t *testing.T) {
	node := tool(t, "node", "nodejs")
	dir := nodePackages(t)
	scriptCommand := func(script string, args ...string) *exec.Cmd {
		return command(node, append([]string{filepath.Join(dir, script)}, args...)...)
	}
	client := func(script string) func(t *testing.T, args ...string) {
		return func(t *testing.T, args ...string) {
			if out := run(t, scriptCommand(script, args...)); !strings.HasSuffix(out, "done\n") {
				t.Errorf("%s did not come to its end:\n%s", script, out)
			}
		}
	}
	t.Run("client ws", func(t *testing.T) {
		can := clientAbilities{inflate: true, deflate: true, fragment: true, closes: `1005 ""`}
		meetClient(t, client("ws_client.mjs"), (*httptest.Server).Start, "HTTP/1.1", can)
	})
	t.Run("client websocket", func(t *testing.T) {
		can := clientAbilities{fragment: true, closes: `1000 "Normal connection closure"`}
		meetClient(t, client("websocket_client.mjs"), (*httptest.Server).Start, "HTTP/1.1", can)
	})
	t.Run("client undici", func(t *testing.T) {
		can := clientAbilities{inflate: true, closes: `1005 ""`}
		meetClient(t, client("undici_client.mjs"), (*httptest.Server).Start, "HTTP/1.1", can)
	})
	t.Run("client undici over HTTP2", func(t *testing.T) {
		can := clientAbilities{inflate: true, closes: `1005 ""`}
		meetClient(t, client("undici_client.mjs"), startHTTP2, "HTTP/2.0", can)
	})
	t.Run("server ws", func(t *testing.T) {
		peer := &echoPeer{start(t, scriptCommand("ws_server.mjs")), true}
		peer.meets(t, "plain", "deflate", "takeover", "window", "http2")
	})
	t.Run("server websocket", func(t *testing.T) {
		peer := &echoPeer{start(t, scriptCommand("websocket_server.mjs")), false}
		peer.meets(t, "plain", "declined")
	})
}

// nodePackages is a copy of testdata/node with what it needs beside it.
func nodePackages(t *testing.T) (dir string) {
	t.Helper()
	tool(t, "npm", "npm")
	dir, err := installNodePackages()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var installNodePackages = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(filepath.Dir(program), "node")
	if err := os.CopyFS(dir, os.DirFS("testdata/node")); err != nil {
		return "", err
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=5")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci, which needs the registry or its cache: %w\n%s", err, out)
	}
	return dir, nil
})

// What the lock file names comes from the default registry and is checked.
func TestNodeLockFile(t *testing.T) {
	text, err := os.ReadFile("testdata/node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Resolved, Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	delete(lock.Packages, "") // ours
	for name, p := range lock.Packages {
		if !strings.HasPrefix(p.Resolved, "https://registry.npmjs.org/") || !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("%s: resolved %q, integrity %q", name, p.Resolved, p.Integrity)
		}
	}
	if len(lock.Packages) == 0 {
		t.Error("no packages")
	}
}
