package topic

import (
	"errors"
	"strings"
	"testing"
)

// Whatever is plain is a name, of all texts that are as short as that or as long as a
// name may be.
func TestPlain(t *testing.T) {
	const alphabet = "aZ9-_/.$* \x00\x7f\xc3\xbc"
	var check func(name string, more int)
	check = func(name string, more int) {
		rest := strings.Repeat("x", MaxNameBytes)[len(name):]
		for _, name := range []string{name, name + rest, name + rest + "x", rest + name} {
			if isPlain(name) && (nameFault(name) != "" || holdsSystem(name) || strings.Contains(name, "*")) {
				t.Errorf("%q is plain", name)
			}
		}
		for i := 0; i < len(alphabet) && more > 0; i++ {
			check(name+alphabet[i:i+1], more-1)
		}
	}
	check("", 3)
	for _, name := range []string{"a", "orders/eu/42", "A-Z_0/9", strings.Repeat("x/", 127) + "x"} {
		if !isPlain(name) {
			t.Errorf("%q is not plain", name)
		}
	}
}

// PROTOCOL.md §2.1: 1-255 bytes of UTF-8, segments split by "/", no
// empty segment, no control character, no "." or ".." segment, no "*"; a
// segment that begins with "$" is the system's.
func TestCheckName(t *testing.T) {
	long := strings.Repeat("x", MaxNameBytes)
	for _, name := range []string{
		"a", "orders/eu/42", "a b", "a/.b", "a/...", "..a", "a$", "a/b$c", "%2F", "ü/日本", "\U0001f600", "a.b", "~", "#", "?", "\\", `"`,
		"\u00a0", "\u2028", "\ufeff", long, strings.Repeat("x/", 127) + "x",
	} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}

	const (
		empty    = "is empty"
		segment  = "has an empty segment"
		dots     = `has a segment "." or ".."`
		control  = "holds a control character"
		notUTF8  = "is not valid UTF-8"
		star     = `holds "*", which only patterns may`
		tooLong  = "is longer than 255 bytes"
		ofSystem = `has a segment that begins with "$", which only the system's own may`
	)
	for name, reason := range map[string]string{
		"":             empty,
		"/":            segment,
		"/a":           segment,
		"a/":           segment,
		"a//b":         segment,
		".":            dots,
		"..":           dots,
		"a/./b":        dots,
		"a/..":         dots,
		"../a":         dots,
		"\x00":         control,
		"a\nb":         control,
		"a\rb":         control,
		"\x1f":         control,
		"\x7f":         control,
		"\u0080":       control,
		"\u0085":       control,
		"\u009f":       control,
		"\xff":         notUTF8,
		"a/\xc3":       notUTF8,
		"\xed\xa0\x80": notUTF8, // a surrogate
		"*":            star,
		"a/*":          star,
		"**":           star,
		"a*b":          star,
		long + "x":     tooLong,
		"$":            ofSystem,
		"$a":           ofSystem,
		"$a/b":         ofSystem,
		"a/$b":         ofSystem,
		"a/b/$":        ofSystem,
		"$a/*":         star, // it is no name at all, so it is not the system's
		"$a//b":        segment,
	} {
		e, ok := errors.AsType[*NameError](CheckName(name))
		if !ok || e.Name != name || e.Reason != reason || e.System != (reason == ofSystem) {
			t.Errorf("%q: got %+v, want %q", name, e, reason)
		}
	}
}

func TestNameErrorIsOneShortLine(t *testing.T) {
	err := CheckName("a\n" + strings.Repeat("\x00", 1<<20))
	if s := err.Error(); len(s) > 4096 || strings.ContainsAny(s, "\n\x00") || !strings.HasPrefix(s, `topic: name "a\n`) {
		t.Errorf("%d bytes: %.100s", len(s), s)
	}
	if got, want := CheckName("a*").Error(), `topic: name "a*" holds "*", which only patterns may`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// PROTOCOL.md §2.1: the name is the percent-decoded path; "%2F" is
// refused.
func TestUnescape(t *testing.T) {
	for escaped, want := range map[string]string{
		"":               "",
		"a/b":            "a/b",
		"a%20b":          "a b",
		"a+b":            "a+b", // a space only in a query
		"%C3%BC/%c3%bc":  "ü/ü",
		"ü":              "ü",
		"a%252Fb":        "a%2Fb", // decoded once
		"%2a%2A":         "**",
		"%24sys":         "$sys",
		"%2e%2E/a":       "../a", // for CheckName to refuse
		"%00":            "\x00", // likewise
		"a%25":           "a%",
		"a%3Fb%23c":      "a?b#c",
		"%F0%9F%98%80":   "\U0001f600",
		"orders/eu%2D42": "orders/eu-42",
	} {
		if got, err := Unescape(escaped); got != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", escaped, got, err, want)
		}
	}
	for escaped, reason := range map[string]string{
		"a%2Fb":     `holds an escaped "/"`,
		"a%2fb":     `holds an escaped "/"`,
		"%20%2F":    `holds an escaped "/"`,
		"%":         "holds a malformed escape",
		"a%2":       "holds a malformed escape",
		"a%zz":      "holds a malformed escape",
		"%%20":      "holds a malformed escape",
		"%u0041":    "holds a malformed escape",
		"%ff":       "is not valid UTF-8",
		"\xff":      "is not valid UTF-8",
		"%C0%AF":    "is not valid UTF-8", // an overlong "/"
		"%ED%A0%80": "is not valid UTF-8",
	} {
		got, err := Unescape(escaped)
		e, ok := errors.AsType[*NameError](err)
		if !ok || got != "" || e.Name != escaped || e.Reason != reason || e.System {
			t.Errorf("%q: got %q, %v; want %q", escaped, got, err, reason)
		}
	}
}

func TestNamesWithoutAllocation(t *testing.T) {
	const name = "orders/eu/42/position/7"
	if n := testing.AllocsPerRun(100, func() {
		if CheckName(name) != nil {
			t.Fatal("refused")
		}
		if got, err := Unescape(name); got != name || err != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
