//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// AllCores is what [Pin] takes to bind a process to none.
const AllCores = -1

// Pin binds all threads of a process, and those that they will start, to one
// core.
func Pin(pid, core int) error {
	var mask [16]uint64
	switch {
	case core == AllCores:
		for i := range mask {
			mask[i] = ^uint64(0) // the kernel leaves out those that are not there
		}
	case core < 0 || core >= len(mask)*64:
		return fmt.Errorf("core %d: no such core", core)
	default:
		mask[core/64] = 1 << (core % 64)
	}
	// A thread that was not bound yet may start another meanwhile.
	for bound := []string(nil); ; {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		var names []string
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			names = append(names, thread.Name())
			_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(id), unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
			if errno != 0 && errno != syscall.ESRCH { // ESRCH: it has ended
				return fmt.Errorf("bind to core %d: %w", core, errno)
			}
		}
		if slices.Equal(names, bound) {
			return nil
		}
		bound = names
	}
}

// processCPU gives the user and system time of all threads of a process, also
// of those that have ended: what /proc/PID/stat says in ticks of 10 ms, in
// nanoseconds.
func processCPU(pid int) (time.Duration, error) {
	const schedulerClock = 2 // CPUCLOCK_SCHED; see clock_getcpuclockid(3)
	clock := ^uintptr(pid)<<3 | schedulerClock
	var t syscall.Timespec
	// The kernel takes the clock for an int.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(int32(clock)), uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, errno)
	}
	return time.Duration(t.Nano()), nil
}

// processRSS gives the resident memory of a process in bytes. The counters in
// /proc/PID/status may be off by some hundred pages; smaps_rollup is exact.
func processRSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "Rss:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("smaps_rollup has no Rss")
}

// machineCPU gives the time that all cores were busy, or taken away by the
// machine's host.
func machineCPU() (time.Duration, error) {
	const ticks = 100 // per second: USER_HZ, the same everywhere
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	var busy int64
	for i, field := range fields {
		// user nice system idle iowait irq softirq steal; what follows is
		// counted in those already.
		if i < 1 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		busy += n
	}
	return time.Duration(busy) * time.Second / ticks, nil
}

// cpuTimes are readings of clocks that run while somebody works.
type cpuTimes struct {
	server, generator, machine time.Duration
}

func readCPU(serverPID int) (t cpuTimes, err error) {
	if serverPID != 0 {
		if t.server, err = processCPU(serverPID); err != nil {
			return t, err
		}
	}
	if t.generator, err = processCPU(os.Getpid()); err != nil {
		return t, err
	}
	t.machine, err = machineCPU()
	return t, err
}

// quickRSS gives the resident memory of a process, which may be off by some
// hundred pages, without holding it up.
func quickRSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, errors.New("statm has no resident pages")
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// kernelBuffers gives the bytes that TCP holds for all sockets of the machine.
func kernelBuffers() (int64, error) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if i := slices.Index(fields, "mem"); len(fields) > 0 && fields[0] == "TCP:" && i >= 0 && i+1 < len(fields) {
			pages, err := strconv.ParseInt(fields[i+1], 10, 64)
			return pages * int64(os.Getpagesize()), err
		}
	}
	return 0, errors.New("sockstat has no memory of TCP")
}
