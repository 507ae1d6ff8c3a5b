package wire

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestExtensions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		want  string // "-" if it is malformed
	}{
		{nil, "[]"},
		{[]string{""}, "[]"},
		{[]string{" , ,"}, "[]"},
		// RFC 6455 §9.1, the examples
		{[]string{"deflate-stream"}, "[deflate-stream]"},
		{[]string{"mux; max-channels=4; flow-control, deflate-stream"}, "[mux; max-channels=4; flow-control deflate-stream]"},
		{[]string{"private-extension"}, "[private-extension]"},
		// §9.1: "MAY be split across multiple lines"
		{[]string{"foo", "bar; baz=2"}, "[foo bar; baz=2]"},
		// RFC 7692 §7.1.3, the examples
		{[]string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10"}, "[permessage-deflate; client_max_window_bits; server_max_window_bits=10]"},
		{[]string{"permessage-deflate; server_max_window_bits=10,", "permessage-deflate"}, "[permessage-deflate; server_max_window_bits=10 permessage-deflate]"},
		// "the value after quoted-string unescaping MUST conform to the 'token' ABNF"
		{[]string{`a; b="c"; d="1\0"`}, "[a; b=c; d=10]"},
		{[]string{" a\t;b =\t\"c\" ;d , e "}, "[a; b=c; d e]"},
		{[]string{"a; b; b; b=1"}, "[a; b; b; b=1]"},
		{[]string{`a; b=""`}, "-"},
		{[]string{`a; b="c d"`}, "-"},
		{[]string{`a; b="c,d"`}, "-"},
		{[]string{`a; b="c`}, "-"},
		{[]string{`a; b="c\`}, "-"},
		{[]string{`a; b="c", d="`}, "-"},
		{[]string{`a; b="c"d`}, "-"},
		{[]string{`a; b="c`, `d"`}, "-"}, // a quoted string does not go over lines
		{[]string{"a; b="}, "-"},
		{[]string{"a; =b"}, "-"},
		{[]string{"a;"}, "-"},
		{[]string{";a"}, "-"},
		{[]string{"a b"}, "-"},
		{[]string{"a; b c"}, "-"},
		{[]string{"a=b"}, "-"},
		{[]string{`"a"`}, "-"},
		{[]string{"a, b;;c"}, "-"},
		{[]string{"a; b=c=d"}, "-"},
		{[]string{"größe"}, "-"},
	} {
		extensions, ok := Extensions(test.lines)
		got := fmt.Sprint(extensions)
		if !ok {
			got = "-"
		}
		if got != test.want {
			t.Errorf("%q: got %s, want %s", test.lines, got, test.want)
		}
	}
}

var (
	window      = Deflate{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	noTakeover  = Deflate{true, true, 15, 15}
	narrow      = Deflate{ServerMaxWindowBits: 9, ClientMaxWindowBits: 10}
	narrowAlone = Deflate{true, true, 9, 10}
)

// What a server that wants something makes of offers.
func TestDeflateAccept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		want   Deflate
		offer  string
		answer string // "" if all offers are declined
		agreed Deflate
	}{
		{window, "permessage-deflate", "permessage-deflate", window},
		// as browsers send it
		{window, "permessage-deflate; client_max_window_bits", "permessage-deflate", window},
		{noTakeover, "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", noTakeover},
		{narrowAlone, "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10", narrowAlone},
		// §7.1.1: what the client asks for or promises
		{window, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover", Deflate{true, false, 15, 15}},
		{window, "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover", Deflate{false, true, 15, 15}},
		// §7.1.2.1: "the same or smaller value"
		{window, "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8", Deflate{false, false, 8, 15}},
		{narrow, "permessage-deflate; server_max_window_bits=12", "permessage-deflate; server_max_window_bits=9", Deflate{false, false, 9, 15}},
		{window, "permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15", window},
		// §7.1.2.2: only if the offer has it
		{narrow, "permessage-deflate", "permessage-deflate; server_max_window_bits=9", Deflate{false, false, 9, 15}},
		{narrow, "permessage-deflate; client_max_window_bits=9", "permessage-deflate; server_max_window_bits=9", Deflate{false, false, 9, 9}},
		{narrow, "permessage-deflate; client_max_window_bits=15", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10", narrow},
		{window, `permessage-deflate; client_max_window_bits="10"`, "permessage-deflate", Deflate{false, false, 15, 10}},
		// the first that can be accepted
		{window, "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate; server_max_window_bits=10", Deflate{false, false, 10, 15}},
		{window, "permessage-deflate; unknown, permessage-deflate", "permessage-deflate", window},
		// §7.1: an offer is declined for a parameter that is not defined, not valid, or repeated
		{window, "permessage-deflate; unknown", "", Deflate{}},
		{window, "permessage-deflate; server_no_context_takeover=true", "", Deflate{}},
		{window, "permessage-deflate; client_no_context_takeover=1", "", Deflate{}},
		{window, "permessage-deflate; client_no_context_takeover; client_no_context_takeover", "", Deflate{}},
		{window, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits", "", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=7", "", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=16", "", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=08", "", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=+9", "", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", "", Deflate{}},
		{window, "permessage-deflate; client_max_window_bits=0", "", Deflate{}},
		{window, "permessage-deflate; client_max_window_bits=010", "", Deflate{}},
		{window, "permessage-deflate; client_max_window_bits; client_max_window_bits=10", "", Deflate{}},
		{window, "permessage-bzip2", "", Deflate{}},
		{window, "Permessage-Deflate; client_max_window_bits=a", "", Deflate{}},
	} {
		offers, ok := Extensions([]string{test.offer})
		if !ok {
			t.Fatal(test.offer)
		}
		agreed, answer, ok := test.want.Accept(offers)
		if answer.String() != test.answer || agreed != test.agreed || ok != (test.answer != "") {
			t.Errorf("%+v of %q: got %q, %+v", test.want, test.offer, answer, agreed)
		}
	}
}

// What a client that has offered something makes of the answer.
func TestDeflateAgree(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		offered Deflate
		answer  string
		want    Deflate // zero if the handshake has to fail
	}{
		{window, "permessage-deflate", window},
		{window, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", noTakeover},
		{window, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", Deflate{false, false, 8, 8}},
		{narrow, "permessage-deflate; server_max_window_bits=9", narrow},
		{narrow, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=10", Deflate{false, false, 8, 10}},
		// what a client promises holds even if the server does not repeat it
		{noTakeover, "permessage-deflate; server_no_context_takeover", noTakeover},
		// §7.1.1.1, §7.1.2.1: a server that does not say so has not accepted
		{noTakeover, "permessage-deflate; client_no_context_takeover", Deflate{}},
		{narrow, "permessage-deflate", Deflate{}},
		{narrow, "permessage-deflate; server_max_window_bits=10", Deflate{}},
		{narrow, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=11", Deflate{}},
		{window, "permessage-deflate; client_max_window_bits", Deflate{}}, // §7.1.2.2: only in an offer without a value
		{window, "permessage-deflate; server_max_window_bits", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=16", Deflate{}},
		{window, "permessage-deflate; server_max_window_bits=010", Deflate{}},
		{window, "permessage-deflate; unknown", Deflate{}},
		{window, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", Deflate{}},
		{window, "permessage-deflate; server_no_context_takeover=1", Deflate{}},
		{window, "permessage-gzip", Deflate{}},
	} {
		answers, _ := Extensions([]string{test.answer})
		if got, ok := test.offered.Agree(answers[0]); got != test.want || ok != (test.want != Deflate{}) {
			t.Errorf("%+v answered by %q: got %+v, %v", test.offered, test.answer, got, ok)
		}
	}
}

// Whatever the two sides want, they agree on the same, and on no more than either wants.
func TestDeflateSidesAgree(t *testing.T) {
	t.Parallel()
	var all []Deflate
	for flags := range 4 {
		for s := MinWindowBits; s <= MaxWindowBits; s++ {
			for c := MinWindowBits; c <= MaxWindowBits; c++ {
				all = append(all, Deflate{flags&1 != 0, flags&2 != 0, s, c})
			}
		}
	}
	for _, client := range all {
		offers, _ := Extensions([]string{client.Offer().String()})
		for _, server := range all {
			accepted, answer, ok := server.Accept(offers)
			agreed, agrees := client.Agree(answer)
			want := Deflate{
				server.ServerNoContextTakeover || client.ServerNoContextTakeover,
				server.ClientNoContextTakeover || client.ClientNoContextTakeover,
				min(server.ServerMaxWindowBits, client.ServerMaxWindowBits),
				min(server.ClientMaxWindowBits, client.ClientMaxWindowBits),
			}
			if !ok || !agrees || accepted != want || agreed != want {
				t.Fatalf("%+v and %+v: %q is %+v and %+v", client, server, answer, accepted, agreed)
			}
		}
	}
}

// The oracle is the grammar of RFC 6455 §9.1 as an expression.
func FuzzExtensions(f *testing.F) {
	for _, seed := range []string{
		"permessage-deflate; client_max_window_bits", `a; b="c\d", e`, `a;b="c`, ", ,a;b=c;b", "a b", "permessage-deflate; server_max_window_bits=08",
	} {
		f.Add(seed, "permessage-deflate")
	}
	const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]"
	const quoted = `"(` + token + `|\\` + token + `)+"`
	const space = `[ \t]*`
	const extension = token + `+(` + space + `;` + space + token + `+(` + space + `=` + space + `(` + token + `+|` + quoted + `))?)*`
	list := regexp.MustCompile(`^(?s:` + space + `(` + extension + `)?` + space + `)(,` + space + `(` + extension + `)?` + space + `)*$`)
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		got, ok := Extensions(lines)
		if want := list.MatchString(first) && list.MatchString(second); ok != want {
			t.Fatalf("%q: %v, the grammar says %v", lines, ok, want)
		}
		if !ok {
			if got != nil {
				t.Fatal("extensions of a list that is none")
			}
			return
		}
		var texts []string
		for _, e := range got {
			texts = append(texts, e.String())
		}
		again, ok := Extensions([]string{strings.Join(texts, ", ")})
		if !ok || !slices.EqualFunc(again, got, func(a, b Extension) bool { return a.String() == b.String() }) {
			t.Fatalf("%q is read as %v, which is read as %v", lines, got, again)
		}
		agreed, answer, ok := window.Accept(got)
		if !ok {
			return
		}
		for _, bits := range []int{agreed.ServerMaxWindowBits, agreed.ClientMaxWindowBits} {
			if bits < MinWindowBits || bits > MaxWindowBits {
				t.Fatalf("%q: %+v", lines, agreed)
			}
		}
		if _, ok := agreed.Agree(answer); !ok {
			t.Fatalf("%q: answer %v", lines, answer)
		}
	})
}
