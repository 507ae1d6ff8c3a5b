//go:build linux

package load

import "testing"

func TestHasLine(t *testing.T) {
	for text, want := range map[string]bool{"{}": true, "{}\n{\"a\":1}": true, "{\"a\":{}}": false, "x\n{}": true, "": false, "{}{}": false} {
		if hasLine([]byte(text), "{}") != want {
			t.Errorf("%q: not %t", text, want)
		}
	}
}
