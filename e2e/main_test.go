//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is the duplex that is tested.
var program string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if config := os.Getenv(natsVariable); config != "" {
		if err := serveNATS(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "duplex-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "duplex")
	if err := build(program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer closeBrowser()
	return m.Run()
}

// build makes the program, with the race detector where there is a C compiler.
func build(path string) error {
	args := []string{"build", "-o", path}
	cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	if strings.TrimSpace(string(cgo)) == "1" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../cmd/duplex")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build duplex: %w\n%s", err, out)
	}
	return nil
}

// tool finds a program of the machine.
func tool(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, debianPackage)
	}
	return path
}

// patience is how long a test waits for what should come at once. It is long,
// because the machine may be busy, and a client that did not get its preferred
// transport in time looks for it again after 30 s and 60 s (PROTOCOL.md §15.4);
// who waits for it in vain has failed.
const patience = 3 * time.Minute

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !eventually(holds) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// eventually reports whether a condition comes to hold.
func eventually(holds func() bool) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			return false
		}
		<-ticker.C
	}
	return true
}

// artifact is the path for a file that a person may look at afterwards.
func artifact(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("E2E_ARTIFACTS")
	if dir == "" {
		return filepath.Join(t.ArtifactDir(), name)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}
