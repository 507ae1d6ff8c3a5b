//go:build unix

package jetlog

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var killRounds = flag.Int("kill.rounds", 5, "how often TestKill kills a process that publishes")

// A process of TestKill gets its data directory and its round in these.
const (
	killDirVariable   = "JETLOG_KILL_DIR"
	killRoundVariable = "JETLOG_KILL_ROUND"
	killLimitVariable = "JETLOG_KILL_LIMIT" // of the size of a file; none if empty
	killWriters       = 8
	killFsyncRound    = 3 // every third round syncs before it acknowledges
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirVariable); dir != "" {
		if limit, err := strconv.ParseUint(os.Getenv(killLimitVariable), 10, 64); err == nil {
			syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit})
		}
		publishUntilKilled(dir, os.Getenv(killRoundVariable))
		return
	}
	if config := os.Getenv(serverVariable); config != "" {
		serve(config)
		return
	}
	if url := os.Getenv(nodeVariable); url != "" {
		publishToServer(url)
		return
	}
	os.Exit(m.Run())
}

// publishUntilKilled publishes numbers, alone, in batches and with keys, and
// prints each append once it is acknowledged.
func publishUntilKilled(dir, round string) {
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	n, err := strconv.Atoi(round)
	if err != nil {
		fail(err)
	}
	l, err := Open(context.Background(), &Options{Dir: dir, Fsync: n%killFsyncRound == 0})
	if err != nil {
		fail(err)
	}
	var printing sync.Mutex
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			name := killTopic(n, w)
			for i := 0; ; {
				drafts, key := killAppend(w, i)
				id, err := l.Append(context.Background(), name, drafts, key)
				if err != nil {
					fail(err)
				}
				printing.Lock()
				fmt.Println(w, i, len(drafts), id.Seq)
				printing.Unlock()
				i += len(drafts)
			}
		})
	}
	wg.Wait()
}

func killTopic(round, writer int) string { return fmt.Sprintf("round/%d/%d", round, writer) }

// killAppend is what a writer appends when it has appended i events.
func killAppend(writer, i int) ([]topic.Draft, topic.Key) {
	size := 1
	if writer%3 == 1 {
		size = 1 + i%5
	}
	var drafts []topic.Draft
	for n := range size {
		drafts = append(drafts, topic.Draft{Media: "text/plain", Data: []byte(strconv.Itoa(i + n))})
	}
	if writer%3 == 2 {
		return drafts, topic.NewKey(strconv.Itoa(i), drafts)
	}
	return drafts, topic.Key{}
}

// acknowledged is an append that a process has printed.
type acknowledgedAppend struct {
	writer, first, count int
	seq                  uint64
}

// A process that publishes is killed at any moment. What it has acknowledged is
// there when the log is opened again: once, in order, with its id.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	dir := t.TempDir()
	var epoch, end uint64
	total := 0
	for round := range *killRounds {
		acked := killOne(t, dir, round)
		l := openAt(t, &Options{Dir: dir})
		if epoch == 0 {
			epoch = l.End().Epoch
		}
		if l.End().Epoch != epoch || l.End().Seq < end {
			t.Fatalf("round %d: end %v, want one of epoch %d after %d", round, l.End(), epoch, end)
		}
		end = l.End().Seq
		checkAcked(t, l, round, acked)
		total += len(acked)
		if round%2 == 1 { // else it ends as uncleanly as the other
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		killLog(l)
	}
	t.Logf("%d acknowledged appends in %d rounds", total, *killRounds)
}

// checkAcked checks that the log has what was acknowledged, once and in order.
func checkAcked(t *testing.T, l *Log, round int, acked []acknowledgedAppend) {
	t.Helper()
	stored := make([]int, killWriters)
	ids := make([]map[int]uint64, killWriters)
	for w := range stored {
		ids[w] = make(map[int]uint64)
		interests := []topic.Interest{{
			Patterns: []topic.Pattern{pattern1(t, killTopic(round, w))},
			After:    topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch}},
		}}
		for more := true; more; {
			page, err := l.Read(t.Context(), interests, topic.Limit{})
			if err != nil || len(page.Gaps) > 0 {
				t.Fatalf("round %d: %v, gaps %v", round, err, page.Gaps)
			}
			for _, e := range page.Entries {
				if string(e.Data) != strconv.Itoa(stored[w]) {
					t.Fatalf("round %d: event %q of writer %d, want %d", round, e.Data, w, stored[w])
				}
				ids[w][stored[w]] = e.ID.Seq
				stored[w]++
			}
			interests[0].After, more = page.Cursor, page.More
		}
	}
	for i, a := range acked {
		for n := range a.count {
			if got := ids[a.writer][a.first+n]; got != a.seq+uint64(n) {
				t.Errorf("round %d: event %d of writer %d was acknowledged as %d, and is %d", round, a.first+n, a.writer, a.seq+uint64(n), got)
			}
		}
		if a.writer%3 != 2 || i < len(acked)-10 {
			continue
		}
		drafts, key := killAppend(a.writer, a.first) // a retry
		if id, err := l.Append(t.Context(), killTopic(round, a.writer), drafts, key); err != nil || id.Seq != a.seq {
			t.Errorf("round %d: retry of %d: %v, %v", round, a.seq, id, err)
		}
	}
}

// A disk that takes no more is said so, and the process ends; what was
// acknowledged before is there.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := killCommand(t, dir, 1)
	cmd.Env = append(cmd.Env, killLimitVariable+"=300000")
	out, err := cmd.Output()
	if err == nil {
		t.Error("the process has not failed")
	}
	var acked []acknowledgedAppend
	said := ""
	for line := range strings.Lines(string(out)) {
		var a acknowledgedAppend
		if _, err := fmt.Sscan(line, &a.writer, &a.first, &a.count, &a.seq); err == nil {
			acked = append(acked, a)
		} else {
			said = line
		}
	}
	if !strings.Contains(said, "file too large") || !strings.Contains(said, ErrFailed.Error()) {
		t.Errorf("it said %q", said)
	}
	l := openAt(t, &Options{Dir: dir})
	defer l.Close()
	checkAcked(t, l, 1, acked)
	if len(acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	appendText1(t, l, "a", "it goes on")
}

// killLog lets go of a log as the end of its process would: nothing is said in
// the data directory.
func killLog(l *Log) {
	state := l.opts.Dir + "/" + stateFile
	before, err := os.ReadFile(state)
	l.Close()
	os.Remove(l.opts.Dir + "/" + snapshotFile)
	if err == nil {
		err = os.WriteFile(state, before, fileMode)
	}
	if err != nil {
		panic(err)
	}
}

// killOne runs a process, kills it, and returns what it has acknowledged.
func killOne(t *testing.T, dir string, round int) []acknowledgedAppend {
	t.Helper()
	cmd := killCommand(t, dir, round)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked []acknowledgedAppend
	lines := bufio.NewScanner(out)
	killing := false
	for lines.Scan() {
		var a acknowledgedAppend
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatalf("round %d: %s", round, lines.Text())
		}
		if _, err := fmt.Sscan(lines.Text(), &a.writer, &a.first, &a.count, &a.seq); err != nil {
			break // the last line, cut
		}
		acked = append(acked, a)
		if !killing { // from the first one on
			killing = true
			time.AfterFunc(time.Duration(rand.Int64N(int64(300*time.Millisecond))), func() { cmd.Process.Signal(syscall.SIGKILL) })
		}
	}
	io.Copy(io.Discard, out)
	cmd.Wait()
	if len(acked) == 0 {
		t.Fatalf("round %d: nothing was acknowledged", round)
	}
	return acked
}

// killCommand is a process that publishes.
func killCommand(t *testing.T, dir string, round int) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), killDirVariable+"="+dir, killRoundVariable+"="+strconv.Itoa(round))
	return cmd
}
