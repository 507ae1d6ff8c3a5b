package sse

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// leastBackoff is what doubling begins with when the server has set the
	// reconnection time to nothing: a server that is down must not be hammered.
	leastBackoff = 100 * time.Millisecond

	// longestWait bounds what a server can ask for.
	longestWait = 24 * time.Hour
)

// backoff decides how long to wait before each new connection (HTML §9.2.3,
// "reestablish the connection").
type backoff struct {
	max    time.Duration // of doubling
	jitter float64       // most to add, as a part of the wait
	tries  int           // waits since a connection last brought anything
}

// next is the wait after a connection that has ended. retry is the
// reconnection time, atLeast what the server asked for besides, and random in
// [0, 1).
//
// The first wait is retry itself. "In particular, if the previous attempt
// failed, then user agents might introduce an exponential backoff delay."
func (b *backoff) next(retry, atLeast time.Duration, random float64) time.Duration {
	wait := min(retry, longestWait)
	if b.tries > 0 {
		wait = max(wait, leastBackoff)
		most := max(wait, b.max) // never below retry
		for range b.tries {
			if wait = min(2*wait, most); wait == most {
				break
			}
		}
	}
	b.tries++
	wait = max(wait, min(atLeast, longestWait))
	return wait + time.Duration(random*b.jitter*float64(wait))
}

// parseRetryAfter reads both forms of RFC 9110 §10.2.3; zero if it is neither
// or in the past.
func parseRetryAfter(value string, now time.Time) time.Duration {
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the largest
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
