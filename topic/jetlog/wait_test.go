package jetlog

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wait takes as long as it is to, but for time that nobody had.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untilOver := func(w *wait) (took time.Duration) {
			begun := time.Now()
			for <-w.timer.C; !w.over(); <-w.timer.C {
			}
			return time.Since(begun)
		}
		w := newWait(patience)
		if took := untilOver(w); took != patience {
			t.Errorf("over after %v, want %v", took, patience)
		}
		w.reset(troublePatience)
		if took := untilOver(w); took.Round(time.Microsecond) != troublePatience {
			t.Errorf("over after %v, want %v", took, troublePatience)
		}
		w.reset(patience)
		time.Sleep(time.Hour) // nobody looks, as in a process that is stopped
		if took := untilOver(w); took != patience-patience/waitSteps {
			t.Errorf("over %v after an hour in which the process was stopped, want %v", took, patience-patience/waitSteps)
		}
		w.reset(patience)
		w.stop()
	})
}
