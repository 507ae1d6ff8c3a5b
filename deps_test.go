package duplex

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/duplexhq/duplex"

// arrows says which packages of the module each package may import. They point
// down only: the product stands around the domain, the libraries stand alone.
var arrows = map[string][]string{
	"cmd/duplex":        {"server", "client", "client/check", "client/http3", "websocket", "topic", "internal/load", "cmd/duplex/internal/wstalk", "cmd/duplex/internal/stdio"},
	"server":            {"view", "view/webtransport", "home", "ts", "internal/h2", "internal/poller", "topic", "topic/presence", "topic/memlog", "topic/jetlog"},
	"client":            {"websocket", "sse", "topic", "internal/jsonscan"},
	"client/http3":      {"client", "websocket"},
	"view":              {"topic", "topic/presence", "websocket", "sse", "internal/jsonscan", "internal/h2", "internal/poller", "internal/look"},
	"view/webtransport": {"view"},
	"view/viewtest":     {"view", "topic", "topic/memlog"},
	"home":              {"internal/look"},
	"internal/look":     {},
	"ts":                {},
	"topic/memlog":      {"topic", "topic/internal/keep"},
	"topic/presence":    {"topic"},
	"topic/jetlog":      {"topic", "topic/internal/keep", "topic/jetlog/internal/index", "topic/jetlog/internal/message"},
	"topic/logtest":     {"topic"},
	"topic":             {"internal/jsonscan"},
	"websocket":         {"websocket/wire", "internal/poller"},
	"websocket/wire":    {},
	"websocket/h2":      {"websocket/h2/internal/xconnect"},
	"sse":               {},
	"internal/h2":       {"internal/h2/wire", "internal/poller"},
	"internal/h2/wire":  {},
	"internal/jsonscan": {},
	"internal/poller":   {},
	"internal/ports":    {},
	"internal/testnet":  {"internal/ports"},
	"internal/load":     {"websocket/wire"},
	"e2e":               {},

	"topic/internal/keep":                 {"topic"},
	"topic/jetlog/internal/index":         {"topic", "topic/internal/keep", "topic/jetlog/internal/message"},
	"topic/jetlog/internal/message":       {"topic"},
	"cmd/duplex/internal/wstalk":          {"websocket", "websocket/wire", "cmd/duplex/internal/stdio"},
	"cmd/duplex/internal/stdio":           {},
	"client/check":                        {"client", "client/http3", "websocket", "sse"},
	"client/conformance":                  {"client/conformance/hostile", "internal/testnet", "topic", "topic/memlog", "view", "view/webtransport"},
	"client/conformance/hostile":          {"internal/testnet"},
	"websocket/h2/internal/xconnect":      {},
	"websocket/conformance":               {},
	"websocket/conformance/cmd/wsconform": {"websocket/conformance"},
}

// alone are the packages that others import for themselves: beside the
// standard library they may use only what is named here.
var alone = map[string][]string{
	"topic":                         {},
	"topic/memlog":                  {},
	"topic/presence":                {},
	"topic/internal/keep":           {},
	"topic/jetlog/internal/index":   {},
	"topic/jetlog/internal/message": {},
	"websocket":                     {"golang.org/x/sys", "github.com/klauspost/compress"},
	"websocket/wire":                {},
	"sse":                           {},
	"internal/jsonscan":             {},
	"internal/poller":               {"golang.org/x/sys"},
	"internal/testnet":              {"golang.org/x/sys"},
	"internal/load":                 {"golang.org/x/sys", "golang.org/x/net/http2"},
}

// only says who may use what is heavy.
var only = map[string][]string{
	"github.com/quic-go/":     {"server", "view/webtransport", "client/http3", "client/conformance"},
	"github.com/caddyserver/": {"server"},
	"go.uber.org/zap":         {"server"},
}

// forTests are the packages that only tests, and each other, may import.
var forTests = []string{"internal/ports", "internal/testnet", "client/conformance", "client/conformance/hostile", "view/viewtest"}

// pure are the packages that must not reach the network, the clock's waiting
// or another goroutine.
var pure = map[string][]string{
	"websocket/wire":    {"net", "net/http", "os", "sync", "context"},
	"internal/h2/wire":  {"net", "net/http", "os", "sync", "context"},
	"internal/jsonscan": {"net", "net/http", "os", "sync", "context", "time"},
	"topic":             {"net", "net/http", "os"},

	"topic/internal/keep":           {"net", "net/http", "os", "sync", "context"},
	"topic/jetlog/internal/index":   {"net", "net/http", "os", "sync", "context"},
	"topic/jetlog/internal/message": {"net", "net/http", "os", "sync", "context"},
}

func TestArrows(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		if name == "" {
			continue // this test's package
		}
		allowed, known := arrows[name]
		if !known {
			t.Errorf("%s is not drawn in arrows", name)
		}
		for _, imported := range fields[1:] {
			inside, ours := strings.CutPrefix(imported, module+"/")
			switch {
			case ours && slices.Contains(forTests, inside) && !slices.Contains(forTests, name):
				t.Errorf("%s must not import %s: only tests may", name, inside)
			case ours && !slices.Contains(allowed, inside):
				t.Errorf("%s must not import %s", name, inside)
			case !ours && slices.Contains(pure[name], imported):
				t.Errorf("%s must not import %s: it is pure", name, imported)
			}
			for prefix, users := range only {
				if strings.HasPrefix(imported, prefix) && !slices.Contains(users, name) {
					t.Errorf("%s must not import %s: only %s may", name, imported, users)
				}
			}
			others, isAlone := alone[name]
			foreign := strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
			if isAlone && !ours && foreign && !slices.ContainsFunc(others, func(o string) bool { return strings.HasPrefix(imported, o) }) {
				t.Errorf("%s must not import %s: it stands on the standard library", name, imported)
			}
		}
	}
}

// Every package says what it is for.
func TestPackageComments(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, doc, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if doc == "" && name != module {
			t.Errorf("%s has no package comment", name)
		}
	}
}
