//go:build race

package client

// restarted is fewer than what is meant, because the race detector takes its time.
const restarted = 200
