package wire

import (
	"strings"
	"testing"
)

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	// §7.4.1, §7.4.2, and IANA's registry for 1012 to 1014.
	for code := range 6000 {
		want := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		if got := CloseCode(code).OnWire(); got != want {
			t.Errorf("%d: %v", code, got)
		}
		payload, err := AppendClose(nil, CloseCode(code), "x")
		if (err == nil) != want {
			t.Errorf("AppendClose %d: %v", code, err)
		}
		if want {
			if got, reason, err := ParseClose(payload); got != CloseCode(code) || reason != "x" || err != nil {
				t.Errorf("ParseClose %d: %d, %q, %v", code, got, reason, err)
			}
		}
	}
}

func TestCloseReasons(t *testing.T) {
	t.Parallel()
	for reason, ok := range map[string]bool{
		"":                                true,
		strings.Repeat("x", 123):          true,
		strings.Repeat("x", 124):          false,
		strings.Repeat("世", 41):           true,
		strings.Repeat("世", 41) + "é":     false,
		"\xff":                            false,
		strings.Repeat("x", 122) + "\xc3": false,
	} {
		payload, err := AppendClose(nil, CloseNormal, reason)
		if (err == nil) != ok || ok && len(payload) > MaxControlPayload {
			t.Errorf("%q: %v", reason, err)
		}
	}
	if payload, err := AppendClose(nil, CloseNoStatus, ""); len(payload) != 0 || err != nil {
		t.Errorf("no status: %x, %v", payload, err)
	}
	if _, err := AppendClose(nil, CloseNoStatus, "x"); err == nil {
		t.Error("a reason needs a code")
	}
}
