package jetlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What a data directory holds.
const (
	lockFile      = "lock"
	stateFile     = "state.json"
	snapshotFile  = "index"
	serverFolder  = "jetstream"
	storeVersion  = 1
	bootIDFile    = "/proc/sys/kernel/random/boot_id"
	directoryMode = 0o700
	fileMode      = 0o600
)

var (
	// ErrLocked says that another process uses the data directory.
	ErrLocked = errors.New("jetlog: another process uses this data directory")
	// ErrVersion says that the data directory is of a newer version of this
	// program, or none of its data directories at all.
	ErrVersion = errors.New("jetlog: this data directory is not of this program's version")
)

// directory is a data directory that this process holds.
type directory struct {
	path  string
	lock  *os.File
	state directoryState
	had   map[string]bool // the streams that were there before the server was
	mark  *mark           // nil until the log is read
}

// directoryState is what has to be known before the server starts.
type directoryState struct {
	Version int `json:"version"`
	// Boot is the run of the system that has last used the directory, if the
	// system says. A new one may have lost what was not synced.
	Boot string `json:"boot,omitempty"`
	// Clean says that the log was closed.
	Clean bool `json:"clean"`
	// Clock is a loss clock that no cursor was told before the log was opened.
	Clock uint64 `json:"clock"`
}

// openDirectory makes the directory if it is not there, and locks it.
func openDirectory(path string) (d *directory, err error) {
	if err := os.MkdirAll(path, directoryMode); err != nil {
		return nil, fmt.Errorf("jetlog: data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("jetlog: data directory is not writable: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := lock(f); err != nil {
		return nil, fmt.Errorf("%w: %s", err, path)
	}
	d = &directory{path: path, lock: f}
	text, err := os.ReadFile(d.file(stateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(d.file(serverFolder)); err == nil {
			return nil, fmt.Errorf("%w: %s has no %s", ErrVersion, path, stateFile)
		}
		// At once: whatever happens then, this is one of our directories.
		d.state = directoryState{Version: storeVersion, Clean: true, Boot: bootID()}
		return d, d.save()
	case err != nil:
		return nil, fmt.Errorf("jetlog: data directory: %w", err)
	}
	if err := json.Unmarshal(text, &d.state); err != nil {
		return nil, fmt.Errorf("jetlog: %s: %w", d.file(stateFile), err)
	}
	if d.state.Version != storeVersion {
		return nil, fmt.Errorf("%w: %s is of version %d, this program knows %d", ErrVersion, path, d.state.Version, storeVersion)
	}
	return d, nil
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

// save writes the state, and returns when it is on the disk.
func (d *directory) save() error {
	text, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	return d.write(stateFile, append(text, '\n'))
}

// write replaces a file as a whole.
func (d *directory) write(name string, content []byte) (err error) {
	temporary := d.file(name + ".new")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fmt.Errorf("jetlog: data directory: %w", err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, d.file(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("jetlog: data directory: %w", err), os.Remove(temporary))
	}
	return syncFolder(d.path)
}

func (d *directory) close() error {
	var err error
	if d.mark != nil {
		err = d.mark.file.Close()
	}
	return errors.Join(err, unlock(d.lock), d.lock.Close())
}

// bootID names this run of the system; "" if it is not known.
func bootID() string {
	id, err := os.ReadFile(bootIDFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(bytes.TrimSpace(id)))
}
