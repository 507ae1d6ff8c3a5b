//go:build linux

package main

import (
	"context"
	"errors"
	"strings"

	"github.com/duplexhq/duplex/bench/internal/rig"
)

const module = "github.com/duplexhq/duplex/bench"

// start starts a server for a work. The caller has to end it.
func start(ctx context.Context, programs rig.Programs, w work, name string, unpinned bool) (*rig.Server, error) {
	launch := rig.Launch{Path: programs.Path("server"), Args: []string{"-lib", name}, Announce: "listening on ", Unpinned: unpinned}
	if name == floor {
		launch.Path, launch.Args = programs.Path("floor"), []string{"-work", w.floor}
	} else if w.deflate {
		launch.Args = append(launch.Args, "-deflate")
	}
	launch.Args = append(launch.Args, "-listen", "127.0.0.1:0")
	s, err := rig.Start(ctx, launch)
	if e, ok := errors.AsType[*rig.StartError](err); ok && w.deflate && strings.Contains(e.Said, "-deflate") {
		return nil, rig.ErrUnable
	}
	return s, err
}
