package jsonscan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// read collects what Members gives as "key=value", and the fault after it.
func read(data string) (members []string, fault string) {
	for m, err := range Members([]byte(data)) {
		if err != nil {
			return members, err.(*SyntaxError).Reason
		}
		members = append(members, fmt.Sprintf("%s=%s", m.Key, m.Value))
	}
	return members, ""
}

func TestMembers(t *testing.T) {
	tests := []struct {
		data, members, fault string
	}{
		{data: `{}`},
		{data: " \t\r\n{ \n} \t\r\n"},
		{data: `{"a":1}`, members: "a=1"},
		{data: ` { "a" : [ 1 , {} ] , "b" : "x" } `, members: `a=[ 1 , {} ]|b="x"`},
		{data: `{"op":"ping","ref":[null,true,false,-0.5e+7]}`, members: `op="ping"|ref=[null,true,false,-0.5e+7]`},
		{data: `{"":""}`, members: `=""`},
		{data: `{"\u0061\n":{"a":1,"a":2}}`, members: "a\n=" + `{"a":1,"a":2}`}, // values are not looked into
		{data: `{"a":"\ud800"}`, members: `a="\ud800"`},                         // String judges it

		{data: ``, fault: "want an object"},
		{data: `[]`, fault: "want an object"},
		{data: `null`, fault: "want an object"},
		{data: `"{}"`, fault: "want an object"},
		{data: "\ufeff{}", fault: "want an object"}, // RFC 8259 §8.1: "MUST NOT add a byte order mark"
		{data: `{`, fault: "want a string"},
		{data: `{"a"`, fault: `want ":"`},
		{data: `{"a":`, fault: "want a value"},
		{data: `{"a":1`, members: "a=1", fault: `want "," or "}"`},
		{data: `{"a":1]`, members: "a=1", fault: `want "," or "}"`},
		{data: `{"a":1,}`, members: "a=1", fault: "want a string"},
		{data: `{,}`, fault: "want a string"},
		{data: `{a:1}`, fault: "want a string"},
		{data: `{'a':1}`, fault: "want a string"},
		{data: `{"a"=1}`, fault: `want ":"`},
		{data: `{"a":1}{}`, members: "a=1", fault: "want the end"},
		{data: `{} 1`, fault: "want the end"},
		{data: `{"a":01}`, members: "a=0", fault: `want "," or "}"`},
		{data: `{"a":+1}`, fault: "want a value"},
		{data: `{"a":.5}`, fault: "want a value"},
		{data: `{"a":1.}`, fault: "want a digit"},
		{data: `{"a":1e}`, fault: "want a digit"},
		{data: `{"a":1e+}`, fault: "want a digit"},
		{data: `{"a":-}`, fault: "want a value"},
		{data: `{"a":NaN}`, fault: "want a value"},
		{data: `{"a":nul}`, fault: "want a value"},
		{data: `{"a":truE}`, fault: "want a value"},
		{data: `{"a":[1,]}`, fault: "want a value"},
		{data: `{"a":[1}`, fault: `want "," or "]"`},
		{data: `{"a":{"b"}}`, fault: `want ":"`},
		{data: `{"a":{"b":1,}}`, fault: "want a string"},
		{data: "{\"a\":\x00}", fault: "want a value"},
		{data: "{\"a\":1}\x00", members: "a=1", fault: "want the end"},
		{data: `{"a":"x}`, fault: "a string without an end"},
		{data: `{"a":"\`, fault: "no such escape"},
		{data: `{"a":"\x"}`, fault: "no such escape"},
		{data: `{"a":"\u12g4"}`, fault: "no such escape"},
		{data: `{"a":"\u123`, fault: "no such escape"},
		{data: "{\"a\":\"\n\"}", fault: "a control character in a string"},
		{data: "{\"a\":\"\x00\"}", fault: "a control character in a string"},

		// RFC 8259 §4: "The names within an object SHOULD be unique."
		{data: `{"a":1,"a":1}`, members: "a=1", fault: "the second member with this key"},
		{data: `{"a":1,"\u0061":1}`, members: "a=1", fault: "the second member with this key"},
		// RFC 8259 §8.1: "MUST be encoded using UTF-8".
		{data: "{\"a\":\"\xff\"}", fault: "not UTF-8"},
		{data: "{\"a\":\"\xed\xa0\x80\"}", fault: "not UTF-8"},
		// RFC 8259 §8.2: unpaired surrogates are "unpredictable".
		{data: `{"\ud800":1}`, fault: "the key is not Unicode"},
	}
	for _, test := range tests {
		members, fault := read(test.data)
		if got := strings.Join(members, "|"); got != test.members || fault != test.fault {
			t.Errorf("%q: got %q, fault %q; want %q, fault %q", test.data, got, fault, test.members, test.fault)
		}
	}
}

func TestMembersStopsWhenToldTo(t *testing.T) {
	for m := range Members([]byte(`{"a":1,"b":`)) {
		if string(m.Key) != "a" {
			t.Fatalf("got %q after the break", m.Key)
		}
		break
	}
}

func TestErrorSaysWhere(t *testing.T) {
	for _, err := range Members([]byte(`{"a":tru}`)) {
		if want := "jsonscan: byte 8: want a value"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth) }
	objects := func(depth int) string { return strings.Repeat(`{"":`, depth) + "0" + strings.Repeat(`}`, depth) }
	for _, value := range []func(int) string{nested, objects} {
		if data := value(MaxDepth); !Valid([]byte(data)) {
			t.Error("refused at the limit")
		} else if _, fault := read(`{"data":` + data + `}`); fault != "" {
			t.Errorf("as a member at the limit: %s", fault)
		}
		for _, depth := range []int{MaxDepth + 1, 1 << 20} {
			if data := value(depth); Valid([]byte(data)) {
				t.Errorf("depth %d: accepted", depth)
			} else if _, fault := read(`{"data":` + data + `}`); fault != "nested too deep" {
				t.Errorf("depth %d: fault %q", depth, fault)
			}
		}
	}

	object := func(members int) string {
		m := make(map[int]int)
		for i := range members {
			m[i] = i
		}
		data, _ := json.Marshal(m)
		return string(data)
	}
	if members, fault := read(object(MaxMembers)); len(members) != MaxMembers || fault != "" {
		t.Errorf("%d members: got %d, fault %q", MaxMembers, len(members), fault)
	}
	if members, fault := read(object(MaxMembers + 1)); len(members) != MaxMembers || fault != "more than 64 members" {
		t.Errorf("%d members: got %d, fault %q", MaxMembers+1, len(members), fault)
	}
	if data := object(MaxMembers + 1); !Valid([]byte(data)) {
		t.Error("an object that is only data has no such limit")
	}
}

func TestString(t *testing.T) {
	tests := []struct {
		raw, want string
		bad       bool
	}{
		{raw: `""`},
		{raw: `"a"`, want: "a"},
		{raw: `"\"\\\/\b\f\n\r\t"`, want: "\"\\/\b\f\n\r\t"}, // RFC 8259 §7
		{raw: `"\u0000"`, want: "\x00"},
		{raw: `"a\u00e9\u20AC\u20acz"`, want: "aé€€z"},
		{raw: `"\uD834\uDD1E"`, want: "\U0001d11e"}, // the G clef of RFC 8259 §7
		{raw: "\"\U0001d11e\u2028\x7f\"", want: "\U0001d11e\u2028\x7f"},
		{raw: `"\ufffd\uffff"`, want: "\ufffd\uffff"},

		{raw: ``, bad: true},
		{raw: `"`, bad: true},
		{raw: `a`, bad: true},
		{raw: `null`, bad: true},
		{raw: `"a`, bad: true},
		{raw: `"a"b"`, bad: true},
		{raw: `"a" `, bad: true},
		{raw: ` "a"`, bad: true},
		{raw: `"\"`, bad: true},
		{raw: `"\a"`, bad: true},
		{raw: `"\u00e"`, bad: true},
		{raw: `"\u 0e9"`, bad: true},
		{raw: "\"\t\"", bad: true},
		{raw: "\"\xc3\"", bad: true},
		// RFC 8259 §8.2: `"\uDEAD"` and its like are not Unicode.
		{raw: `"\uDEAD"`, bad: true},
		{raw: `"\ud834"`, bad: true},
		{raw: `"\ud834x"`, bad: true},
		{raw: `"\ud834\n12345"`, bad: true},
		{raw: `"\ud834\u0041"`, bad: true},
		{raw: `"\ud834\ud834"`, bad: true},
		{raw: `"\udd1e\ud834"`, bad: true},
	}
	for _, test := range tests {
		got, err := String([]byte(test.raw))
		if got != test.want || (err == ErrString) != test.bad {
			t.Errorf("%q: got %q, %v; want %q, bad %v", test.raw, got, err, test.want, test.bad)
		}
		dst, err := AppendString([]byte("dst"), []byte(test.raw))
		if string(dst) != "dst"+test.want || (err == ErrString) != test.bad {
			t.Errorf("append %q: got %q, %v; want dst%q, bad %v", test.raw, dst, err, test.want, test.bad)
		}
	}
}

func TestAllocations(t *testing.T) {
	data := []byte(`{"op":"publish","topic":"orders/eu/42","event":"paid","data":{"sum":[12.5,"EUR"],"by":null},"key":"5f0","ref":3}`)
	dst := make([]byte, 0, 64)
	var members int
	allocs := testing.AllocsPerRun(100, func() {
		for m, err := range Members(data) {
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Key) == "topic" {
				dst, _ = AppendString(dst[:0], m.Value)
			}
			members++
		}
	})
	if allocs != 0 || string(dst) != "orders/eu/42" || members == 0 {
		t.Errorf("%v allocations, topic %q, %d members", allocs, dst, members)
	}
}

func BenchmarkMembers(b *testing.B) {
	data := []byte(`{"id":"abc-123456","topic":"orders/eu/42","data":{"order":42,"state":"paid","sum":{"amount":12.5,"currency":"EUR"},"items":[1,2,3]},"time":"2026-08-01T12:00:00.123456789Z"}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range Members(data) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
