package jetlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// The server removes a stream that it cannot open, also if the reason passes: a
// permission, too many open files, a disk that is full. So all that a start may
// remove has a second name until the server has opened it.
const (
	guardFolder = "guard"
	guardHalf   = "guard.half" // one that is being made, or removed
)

func (d *directory) streamsFolder() string {
	return filepath.Join(d.file(serverFolder), server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams")
}

// guard takes back what an earlier start could not open, or did not come to open,
// and gives all files of the streams a second name. Files that this process cannot
// use are an error. Where the system has no second names, there is no guard.
func (d *directory) guard() error {
	if err := d.restore(); err != nil {
		return err
	}
	streams, half := d.streamsFolder(), d.file(guardHalf)
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	d.had = map[string]bool{streamName: d.hasStream(streamName), oldStreamName: d.hasStream(oldStreamName)}
	var folders []string
	linkless := false
	err := filepath.WalkDir(streams, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(streams, path)
		if err != nil {
			return err
		}
		second := filepath.Join(half, below)
		if entry.IsDir() {
			folders = append(folders, second)
			return errors.Join(writable(path), os.Mkdir(second, directoryMode))
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil || linkless {
			return err
		}
		err = os.Link(path, second)
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) {
			linkless, err = true, nil
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(folders) == 0:
		return nil // there are no streams yet
	case err != nil:
		return errors.Join(err, os.RemoveAll(half))
	case linkless:
		return os.RemoveAll(half)
	}
	for _, folder := range folders {
		if err := syncFolder(folder); err != nil {
			return err
		}
	}
	return os.Rename(half, d.file(guardFolder))
}

// restore puts the streams back as they were when the guard was made. Nothing was
// appended since then.
func (d *directory) restore() error {
	guard := d.file(guardFolder)
	if _, err := os.Stat(guard); err != nil {
		return nil
	}
	streams := d.streamsFolder()
	if err := os.RemoveAll(streams); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(streams), directoryMode); err != nil {
		return err
	}
	return os.Rename(guard, streams)
}

// unguard gives up the second names: the server has opened the streams. That is on
// the disk when it returns, as what is appended from now on must not be taken back.
func (d *directory) unguard() error {
	err := os.Rename(d.file(guardFolder), d.file(guardHalf))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(d.path)
	}
	if err != nil {
		return fmt.Errorf("jetlog: data directory: %w", err)
	}
	return os.RemoveAll(d.file(guardHalf))
}

// hasStream reports whether there is a folder of the stream.
func (d *directory) hasStream(name string) bool {
	_, err := os.Stat(filepath.Join(d.streamsFolder(), name))
	return err == nil
}
