//go:build !linux

package main

import "context"

type benchCommand struct {
	Work []string `arg:"" optional:"" passthrough:"" help:"Not on this system."`
}

// Run says where it would.
func (benchCommand) Run(context.Context) error {
	return usageError("bench puts its load on the server by means that only Linux has")
}
