//go:build !race

package client

const restarted = 2000
