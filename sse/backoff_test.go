package sse

import (
	"slices"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	tests := []struct {
		name  string
		b     backoff
		retry time.Duration
		want  []time.Duration
	}{
		{"doubles to the maximum", backoff{max: 60 * s}, 3 * s, []time.Duration{3 * s, 6 * s, 12 * s, 24 * s, 48 * s, 60 * s, 60 * s}},
		{"never below retry", backoff{max: 60 * s}, 90 * s, []time.Duration{90 * s, 90 * s}},
		{"does not grow", backoff{max: 0}, 3 * s, []time.Duration{3 * s, 3 * s, 3 * s}},
		{"retry 0 is obeyed once", backoff{max: 1 * s}, 0, []time.Duration{0, 200 * ms, 400 * ms, 800 * ms, 1 * s, 1 * s}},
		{"retry 0 is no busy loop", backoff{max: 0}, 0, []time.Duration{0, 100 * ms, 100 * ms}},
		{"a server cannot silence for ever", backoff{max: 60 * s}, 1 << 62, []time.Duration{24 * time.Hour, 24 * time.Hour}},
	}
	for _, test := range tests {
		var got []time.Duration
		for range test.want {
			got = append(got, test.b.next(test.retry, 0, 0.99))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}

	b := backoff{max: 60 * s, tries: 1 << 30}
	if got := b.next(3*s, 0, 0); got != 60*s {
		t.Errorf("after very many tries: %v", got)
	}
	if got := (&backoff{max: 60 * s}).next(3*s, 120*s, 0); got != 120*s {
		t.Errorf("the server asked for 120 s: %v", got)
	}
	if got := (&backoff{max: 60 * s}).next(3*s, 1*s, 0); got != 3*s {
		t.Errorf("the server asked for less than retry: %v", got)
	}
	if got := (&backoff{max: 60 * s}).next(3*s, 1<<62, 0); got != 24*time.Hour {
		t.Errorf("the server asked for centuries: %v", got)
	}
	for random, want := range map[float64]time.Duration{0: 4 * s, 0.5: 5 * s, 0.75: 5500 * ms} {
		if got := (&backoff{max: 60 * s, jitter: 0.5}).next(4*s, 0, random); got != want {
			t.Errorf("jitter with random %v: %v, want %v", random, got, want)
		}
	}
}

// "The Retry-After field value can be either an HTTP-date or a number of
// seconds to delay after receiving the response." (RFC 9110 §10.2.3)
func TestParseRetryAfter(t *testing.T) {
	now := time.Date(1999, 12, 31, 23, 59, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"120":                           2 * time.Minute,
		"0":                             0,
		"99999999999999999999":          (1<<31 - 1) * time.Second,
		"Fri, 31 Dec 1999 23:59:59 GMT": 59 * time.Second,
		"Fri, 31 Dec 1999 23:00:00 GMT": 0,
		"":                              0,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
