//go:build linux

package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// conditions are those that figures mean nothing without.
type conditions struct {
	machine  string
	commit   string
	versions []string // of the libraries
}

func readConditions(ctx context.Context, serverPath string) (c conditions, err error) {
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
	c.machine = fmt.Sprintf("%s, %d cores, %s memory, Linux %s", cpu, runtime.NumCPU(), memory, strings.TrimSpace(string(kernel)))
	c.commit = "not in a repository"
	if text, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		c.commit = strings.TrimSpace(string(text))
	}
	info, err := buildinfo.ReadFile(serverPath)
	if err != nil {
		return c, err
	}
	c.versions = append(c.versions, info.GoVersion)
	for _, dependency := range info.Deps {
		if dependency.Replace == nil { // ours is named by its commit
			c.versions = append(c.versions, strings.TrimPrefix(dependency.Path, "github.com/")+" "+dependency.Version)
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
