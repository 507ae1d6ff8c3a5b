package view

import (
	"strings"
	"testing"
)

// FuzzNegotiate holds what is true of every request: the choice is one of the
// offers, the wait is bounded, and a header means the same in several fields
// as in one (RFC 9110 §5.3).
func FuzzNegotiate(f *testing.F) {
	f.Add("", "25s", "text/html;q=0.5, */*;q=0.1", `wait="5";x=y`)
	f.Add("sse", "", `a/b;c="d,e\"";q=0`, "respond-async, wait=99999999999")
	f.Add("-", "-", ",;=", "wait")
	f.Fuzz(func(t *testing.T, as, wait, accept, prefer string) {
		for _, offered := range []offers{topicOffers, listOffers} {
			one := wishOf(as, wait, []string{accept}, []string{prefer})
			got, granted, problem := negotiate(one, offered, testMaxWait)
			switch {
			case problem != nil:
				if problem.Type != "bad-parameter" && problem.Type != "not-acceptable" {
					t.Fatalf("problem %v", problem)
				}
			case !offered.have(got):
				t.Fatalf("%q was not offered", got)
			case granted < 0 || granted > testMaxWait || granted != 0 && got != asLongpoll:
				t.Fatalf("%s waits %v", got, granted)
			case !one.hasAs && got == asWebSocket:
				t.Fatal("a WebSocket without a handshake")
			}

			many := wishOf(as, wait, split(accept), split(prefer))
			again, grantedAgain, problemAgain := negotiate(many, offered, testMaxWait)
			if again != got || grantedAgain != granted || (problemAgain == nil) != (problem == nil) {
				t.Fatalf("one field gives %q %v %v, many %q %v %v", got, granted, problem, again, grantedAgain, problemAgain)
			}
		}
	})
}

// split makes a field of each element that has no quotation mark near it.
func split(field string) []string {
	if strings.Contains(field, `"`) {
		return []string{field, ""}
	}
	return strings.Split(field, ",")
}
