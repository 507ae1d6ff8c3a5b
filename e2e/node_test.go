//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// Node's own clients, without any package: fetch for streams, and WebSocket,
// which Node 20 has behind a flag and later ones have anyway.
func TestNode(t *testing.T) {
	node := tool(t, "node", "nodejs")
	for name, args := range map[string][]string{
		"fetch":     {"testdata/events.mjs"},
		"websocket": {"--experimental-websocket", "testdata/websocket.mjs"},
	} {
		t.Run(name, func(t *testing.T) {
			out := run(t, command(node, append(args, serve(t).topic("node"))...))
			t.Logf("%s", out)
			if !strings.HasSuffix(out, "done\n") {
				t.Error("the script did not come to its end")
			}
		})
	}
}
