//go:build linux

package rig

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Conditions are those that figures mean nothing without.
type Conditions struct {
	Machine  string
	Commit   string
	Versions []string // of the libraries
}

// ReadConditions reads them, and the versions of the libraries that a program
// was built with.
func ReadConditions(ctx context.Context, serverPath string) (c Conditions, err error) {
	cpu, err := field("/proc/cpuinfo", "model name")
	if err != nil {
		return c, err
	}
	memory, err := field("/proc/meminfo", "MemTotal")
	if err != nil {
		return c, err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return c, err
	}
	c.Machine = fmt.Sprintf("%s, %d cores, %s memory, Linux %s", cpu, runtime.NumCPU(), memory, strings.TrimSpace(string(kernel)))
	c.Commit = "not in a repository"
	if text, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		c.Commit = strings.TrimSpace(string(text))
	}
	info, err := buildinfo.ReadFile(serverPath)
	if err != nil {
		return c, err
	}
	c.Versions = append(c.Versions, info.GoVersion)
	for _, dependency := range info.Deps {
		if dependency.Replace == nil { // ours is named by its commit
			c.Versions = append(c.Versions, strings.TrimPrefix(dependency.Path, "github.com/")+" "+dependency.Version)
		}
	}
	return c, nil
}

// field gives the first value of that name in a file of "name: value" lines.
func field(path, name string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "unknown", nil
}
