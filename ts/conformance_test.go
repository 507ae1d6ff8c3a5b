package ts_test

import (
	"io"
	"os/exec"
	"testing"

	"github.com/duplexhq/duplex/client/conformance"
)

// The client in node, judged by the cases that judge the Go client.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a node for each case")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed: .ci/run installs it")
	}
	skip := make(map[string]string)
	for _, c := range conformance.Cases {
		if c.UDP {
			skip[c.Name] = "node has no WebTransport: the client is judged in Chromium"
		}
	}
	conformance.Run(t, &conformance.Agent{Start: startNode, Skip: skip})
}

func startNode(t testing.TB, _ conformance.Network) (io.WriteCloser, io.Reader) {
	// node 20 has a WebSocket, but not without being asked.
	agent := exec.CommandContext(t.Context(), "node", "--experimental-websocket", "--no-warnings", "conformance/agent.mjs")
	agent.Stderr = t.Output()
	in, err := agent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Wait() }) // killed with the test's context, if it has not ended
	return in, out
}
