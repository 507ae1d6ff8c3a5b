package ts

import (
	"os/exec"
	"testing"
)

// The model of the client's switching, which takes neither a network nor time.
func TestSwitching(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed: .ci/run installs it")
	}
	model := exec.CommandContext(t.Context(), "node", "--no-warnings", "--test", "test/switching.test.mjs")
	if out, err := model.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
