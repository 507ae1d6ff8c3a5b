package index

import (
	"testing"

	"github.com/duplexhq/duplex/topic"
)

func TestEpochs(t *testing.T) {
	const text = "a@1,zz@8,3@8,2@100"
	e, err := ParseEpochs(text)
	if err != nil || len(e) != 4 || e.String() != text || e.Newest() != 2 {
		t.Fatalf("%v, %v", e, err)
	}
	for seq, want := range map[uint64]uint64{0: 10, 1: 10, 7: 10, 8: 3, 99: 3, 100: 2, 1000: 2} {
		if got := e.ID(seq); got != (topic.ID{Epoch: want, Seq: seq}) {
			t.Errorf("entry %d is of epoch %d, want %d", seq, got.Epoch, want)
		}
	}
	for number, want := range map[uint64]uint64{10: 7, 35*36 + 35: 7, 3: 99, 2: 150} {
		if got, known := e.End(number, 150); got != want || !known {
			t.Errorf("epoch %d ends with %d, %v, want %d", number, got, known, want)
		}
	}
	if _, known := e.End(4, 150); known {
		t.Error("an epoch that never was")
	}
}

func TestParseEpochs(t *testing.T) {
	if e, err := ParseEpochs(""); len(e) > 0 || err != nil {
		t.Errorf("nothing: %v, %v", e, err)
	}
	for _, text := range []string{"a", "a@", "@1", "0@1", "a@0", "a@1,", "a@2,b@1", "-@1", "a@x"} {
		if e, err := ParseEpochs(text); err == nil {
			t.Errorf("%q: %v", text, e)
		}
	}
}
