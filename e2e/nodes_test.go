//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/internal/testnet"
)

// A node was away for so long that the stream no longer has what it has missed.
// It reads the stream anew; its subscribers stay, and are told of the gap.
func TestNodeAway(t *testing.T) {
	config := natsConfig{Name: "nats", Dir: t.TempDir(), Port: testnet.Ports(t, 1)[0]}
	startNATS(t, config)
	address := fmt.Sprint("127.0.0.1:", config.Port)
	js := connectNATS(t, "nats://"+address)
	road := newGate(t, address)
	here := serve(t, "--nats", "nats://"+address, "--retain-events", "1")
	away := serve(t, "--nats", "nats://"+road.addr, "--retain-events", "1")
	f := openStream(t, away.topic("a"), "application/x-ndjson")
	first := here.publish(t, "a", "", "text/plain", "first")
	if got, err := f.next(); got.data != "first" || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	ready := func() bool {
		response, _ := do(t, "GET", away.url+"/readyz", "")
		return response.StatusCode == http.StatusOK
	}

	road.shut(true)
	road.cut()
	until(t, "the node is not ready", func() bool { return !ready() })
	var last string
	for i := range 10 {
		last = here.publish(t, "a", "", "text/plain", fmt.Sprint(i))
	}
	stream, err := js.Stream(t.Context(), "duplex")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	road.shut(false)

	until(t, "the node is ready", ready)
	if gap, err := f.next(); gap.event != "$gap" || err != nil || !strings.Contains(gap.data, fmt.Sprintf(`"after":%q`, first)) {
		t.Errorf("got %v, %v", gap, err)
	}
	if got, err := f.next(); got.id != last || got.data != "9" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	away.publish(t, "a", "", "text/plain", "again")
	if got, err := f.next(); got.data != "again" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// A node that keeps other events than those that are there does not start.
func TestNodeDiffers(t *testing.T) {
	config := natsConfig{Name: "nats", Dir: t.TempDir(), Port: testnet.Ports(t, 1)[0]}
	startNATS(t, config)
	url := fmt.Sprint("nats://127.0.0.1:", config.Port)
	connectNATS(t, url)
	serve(t, "--nats", url)
	p := start(t, command(program, "serve", "--listen", "127.0.0.1:0", "--nats", url, "--retain-age", "1h"))
	const want = "they have retain-age 24h0m0s; this one has retain-age 1h0m0s"
	if code := p.exitCode(t); code != 1 || !strings.Contains(p.stderr.String(), want) {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}
