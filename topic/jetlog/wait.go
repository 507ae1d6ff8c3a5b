package jetlog

import "time"

// A wait is for something within this process, or that this process asks for. It
// is over after so long, of which the time does not count in which the process
// was stopped, as a container is by being paused: when it goes on, what it waits
// for has not had any time either.
type wait struct {
	timer *time.Timer // of the step
	step  time.Duration
	left  int // steps, of which each counts once, however long it took
}

const waitSteps = 30

func newWait(d time.Duration) *wait {
	return &wait{time.NewTimer(d / waitSteps), d / waitSteps, waitSteps}
}

// reset begins it anew.
func (w *wait) reset(d time.Duration) {
	w.step, w.left = d/waitSteps, waitSteps
	w.timer.Reset(w.step)
}

// over is to be asked when the timer has fired.
func (w *wait) over() bool {
	if w.left--; w.left > 0 {
		w.timer.Reset(w.step)
	}
	return w.left <= 0
}

func (w *wait) stop() { w.timer.Stop() }
