package stdio

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLines(t *testing.T) {
	for in, want := range map[string][]string{
		"":                      nil,
		"\n":                    {""},
		"a\r\nb\n\nwithout end": {"a", "b", "", "without end"},
	} {
		var got []string
		for line, err := range Lines(iotest.OneByteReader(strings.NewReader(in))) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for range Lines(strings.NewReader("a\nb\n")) {
		break // ends nothing but the loop
	}
}

// bytesOf is a stream of one letter.
type bytesOf byte

func (b bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func TestLinesFail(t *testing.T) {
	broken := errors.New("broken")
	for want, in := range map[string]io.Reader{
		"standard input: a line of more than 67108864 bytes": io.MultiReader(strings.NewReader("a\n"), bytesOf('x')),
		"read standard input: broken":                        io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken)),
	} {
		var steps []string
		for line, err := range Lines(in) {
			if err != nil {
				line = []byte(err.Error())
			}
			steps = append(steps, string(line))
		}
		if !slices.Equal(steps, []string{"a", want}) {
			t.Errorf("got %q, want a and %q", steps, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"plain, tab\there, é":      "plain, tab\there, é",
		"one\ntwo":                 `one\ntwo`,
		"\x1b[2J\r\x7f\u009b\x00é": `\x1b[2J\x0d\x7f\x9b\x00é`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	if got := string(JSON(map[string]any{"a": "<b> & \n"})); got != `{"a":"<b> & \n"}` {
		t.Error(got)
	}
}

func TestIsTerminal(t *testing.T) {
	if IsTerminal(new(strings.Builder)) || IsTerminal(nil) {
		t.Error("took something else for a terminal")
	}
}
