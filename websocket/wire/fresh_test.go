package wire

import "testing"

// A machine that is fresh may be exchanged: it goes on as a new one would.
func TestFresh(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{Role: Client})
	for i, step := range []struct {
		in    string
		fresh bool
	}{
		{"", true},
		{"\x82", false},      // half a header
		{"\x02h", false},     // the rest of it, and half of the payload
		{"i", true},          // the other half
		{"\x02\x01h", false}, // the beginning of a message
		{"\x89\x00", false},  // a ping in it
		{"\x80\x01i", true},  // its end
		{"\x89\x02p", false}, // half a ping
		{"p", true},          // the other half
		{"\x88\x00", false},  // a close frame: all that follows is ignored
	} {
		in := []byte(step.in)
		for {
			event, n, err := m.Next(in)
			if err != nil {
				t.Fatal(err)
			}
			if in = in[n:]; event.Kind == More || len(in) == 0 && event.Kind != Chunk {
				break
			}
		}
		if m.Fresh() != step.fresh {
			t.Errorf("after step %d: fresh is %v", i, !step.fresh)
		}
	}
}
