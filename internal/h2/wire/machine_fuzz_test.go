package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// However the input is split, the same happens. Nothing panics, no more is kept
// than the limits say, and what is sent are frames.
func FuzzMachine(f *testing.F) {
	for _, frames := range []string{
		settings() + frame(frameHeaders, whole, 1, get()),
		settings(settingWindow, 5) + frame(frameHeaders, open, 1, post("content-length", "5")) + frame(frameData, flagEndStream, 1, "hello") + frame(frameWindow, 0, 1, u32(9)),
		settings() + frame(frameHeaders, 0, 1, get()[:3]) + frame(frameContinuation, flagEndHeaders, 1, get()[3:]) + frame(frameReset, 0, 1, u32(8)),
		settings() + frame(framePing, 0, 0, "12345678") + frame(framePriorityUpdate, 0, 0, u32(1)+"u=1,i") + frame(frameHeaders, whole, 1, get()) + frame(frameGoAway, 0, 0, u32(0)+u32(0)),
		settings() + frame(frameHeaders, open, 1, post()) + frame(frameData, flagPadded, 1, "\x02ab\x00\x00") + frame(frameHeaders, whole, 1, fields("x", "y")),
	} {
		f.Add([]byte(frames), uint16(7))
	}
	f.Fuzz(func(t *testing.T, input []byte, step uint16) {
		input = append([]byte(Preface), input...)
		play := func(step int) (*scene, *Fault) {
			s := newScene(testConfig())
			for rest := input; len(rest) > 0; {
				n := min(step, len(rest))
				// A copy, so that what is kept by mistake shows.
				piece := bytes.Clone(rest[:n])
				fault := s.Receive(piece, 0)
				clear(piece)
				if rest = rest[n:]; fault != nil {
					return s, fault
				}
				if len(s.partial) > headerBytes+MaxFrame {
					t.Fatalf("%d bytes of a frame are kept", len(s.partial))
				}
			}
			return s, nil
		}
		at, fault := play(len(input))
		split, splitFault := play(int(step)%64 + 1)
		if !reflect.DeepEqual(at.log, split.log) || !reflect.DeepEqual(fault, splitFault) || !bytes.Equal(at.Out, split.Out) {
			t.Fatalf("at once: %v, %v, %v\nsplit: %v, %v, %v", at.log, fault, sent(at.Out), split.log, splitFault, sent(split.Out))
		}
		if at.Open() > testConfig().MaxStreams || at.Machine.receive < 0 || int(at.Machine.receive) > testConfig().ConnectionWindow {
			t.Fatalf("%d streams, a window of %d", at.Open(), at.Machine.receive)
		}
		for id, st := range at.Machine.streams {
			if st.over || st.id != id || st.receive < 0 || int(st.receive) > testConfig().StreamWindow {
				t.Fatalf("stream %d: %+v", id, st)
			}
			before := len(at.Out)
			taken := at.Offer(st, make([]byte, 100), true)
			if taken > 100 || len(at.Out)-before > taken+headerBytes || st.send < -maxWindow {
				t.Fatalf("%d bytes were taken", taken)
			}
		}
		at.Fill()
		sent(at.Out) // panics if these are no frames
	})
}

func FuzzPriority(f *testing.F) {
	f.Add("u=1, i")
	f.Fuzz(func(t *testing.T, text string) {
		if p := ParsePriority(text); p.Urgency > lowestUrgency {
			t.Error(p)
		}
	})
}
