//go:build linux

package rig

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// Main is the main function of a program that starts servers: it runs until it
// is done or interrupted, and tells of an error under the program's name.
func Main(name string, run func(ctx context.Context, args []string, out, progress io.Writer) error) {
	log.SetFlags(0)
	// Children are ended by the kernel when the thread that has started them
	// ends: this one ends with the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		stop()
		log.Fatal(name+": ", err)
	}
}
