//go:build linux

// Command servers puts Duplex and other servers of events under the same load,
// side by side in one run, and says whether Duplex is where it wants to be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
	"github.com/duplexhq/duplex/internal/ports"
)

const module = "github.com/duplexhq/duplex"

func main() { rig.Main("servers", run) }

type settings struct {
	quick    bool
	rounds   int
	duration time.Duration
	works    []string
	servers  []string // all if it is empty
	chart    string
	paths    paths
}

// paths are where programs are that are not built here; looked for if empty.
type paths struct{ duplex, centrifugo, mercure, nginx, nchan string }

func parse(args []string, errOut io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("servers", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.BoolVar(&s.quick, "quick", false, "one round with fewer subscribers: about five minutes")
	flags.IntVar(&s.rounds, "rounds", 5, "runs of each server with each work")
	flags.DurationVar(&s.duration, "duration", time.Second, "measured time of a run at the highest rate")
	works := flags.String("run", "", "works to run (default all): "+strings.Join(workNames(), ","))
	servers := flags.String("only", "", "servers to measure, by the names in the tables (default all)")
	flags.StringVar(&s.chart, "svg", "servers.svg", "file for the chart; empty for none")
	flags.StringVar(&s.paths.duplex, "duplex", "", "path of duplex (default: built from this source)")
	flags.StringVar(&s.paths.centrifugo, "centrifugo", "", "path of centrifugo (default: looked for in PATH)")
	flags.StringVar(&s.paths.mercure, "mercure", "", "path of mercure (default: looked for in PATH)")
	flags.StringVar(&s.paths.nginx, "nginx", "", "path of nginx (default: looked for in PATH)")
	flags.StringVar(&s.paths.nchan, "nchan", debianNchan, "path of nginx's module nchan")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.works = workNames()
	if *works != "" {
		s.works = strings.Split(*works, ",")
	}
	for _, name := range s.works {
		if !slices.Contains(workNames(), name) {
			return s, fmt.Errorf("-run %s: must be of %s", name, strings.Join(workNames(), ", "))
		}
	}
	if *servers != "" {
		s.servers = strings.Split(*servers, ",")
		for _, name := range s.servers {
			if !slices.ContainsFunc(peers(), func(p *peer) bool { return p.name == name }) {
				return s, fmt.Errorf("-only %s: no such server", name)
			}
		}
	}
	if s.quick {
		s.rounds, s.duration = 1, min(s.duration, 500*time.Millisecond)
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.rounds < 1 || s.rounds > 100, s.duration <= 0 || s.duration > time.Minute:
		return s, errors.New("-rounds must be from 1 to 100, and -duration up to 1m")
	case runtime.NumCPU() < 2:
		return s, errors.New("one core for the server and one for the generator are needed")
	}
	return s, nil
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	programs, err := rig.Build(ctx, module+"/bench/server", module+"/bench/floor")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, programs.Remove()) }()
	if s.paths.duplex == "" {
		if s.paths.duplex, err = buildDuplex(ctx, programs); err != nil {
			return err
		}
	}
	c := comparison{settings: s, programs: programs, progress: progress, began: time.Now(), results: rig.Results{}}
	c.works = chosen(works(s.quick, s.duration), s.works)
	c.find(ctx)
	if c.conditions, err = rig.ReadConditions(ctx, programs.Path("server")); err != nil {
		return err
	}
	if err := c.measureAll(ctx); err != nil {
		return err
	}
	if err := c.writeMarkdown(out); err != nil {
		return err
	}
	if s.chart != "" {
		if err := os.WriteFile(s.chart, c.drawn().SVG(), 0o666); err != nil {
			return err
		}
	}
	if faults := c.ourFaults(); faults > 0 {
		return fmt.Errorf("%d runs of duplex had faults", faults)
	}
	return nil
}

// chosen gives the works of those names, and those that their targets compare
// them with.
func chosen(all []work, names []string) []work {
	names = slices.Clone(names)
	for _, w := range all {
		for _, t := range w.targets {
			if slices.Contains(names, w.name) {
				names = append(names, t.ofWork, t.over)
			}
		}
	}
	return slices.DeleteFunc(all, func(w work) bool { return !slices.Contains(names, w.name) })
}

// buildDuplex builds the server from the module that this one stands beside.
func buildDuplex(ctx context.Context, programs rig.Programs) (path string, err error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return programs.Path("duplex"), programs.Add(ctx, strings.TrimSpace(string(dir)), "./cmd/duplex")
}

type comparison struct {
	settings
	works      []work
	entries    map[string][]entry // by work: who takes part
	present    []*peer
	found      []string // versions of programs that are not built here
	absent     []string // who was not found, and why
	programs   rig.Programs
	progress   io.Writer
	conditions rig.Conditions
	began      time.Time
	results    rig.Results
}

// find finds the servers that are there, and who takes part in which work.
func (c *comparison) find(ctx context.Context) {
	for _, p := range peers() {
		if len(c.servers) > 0 && !slices.Contains(c.servers, p.name) {
			continue
		}
		if p.find != nil {
			if err := p.find(&c.paths); err != nil {
				c.absent = append(c.absent, fmt.Sprintf("%s: %v", p.name, err))
				continue
			}
			c.found = append(c.found, fmt.Sprintf("%s: %s", p.name, version(ctx, p.version(&c.paths))))
		}
		c.present = append(c.present, p)
	}
	c.entries = map[string][]entry{}
	for _, w := range c.works {
		for _, p := range c.present {
			c.entries[w.name] = append(c.entries[w.name], p.entries(&w)...)
		}
	}
}

// version gives the first line that a command says.
func version(ctx context.Context, command []string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if err != nil || line == "" {
		return "version unknown"
	}
	return line
}

// measureAll takes the servers in turn within each round, so that whatever else
// happens on the machine meets all of them.
func (c *comparison) measureAll(ctx context.Context) error {
	for round := range c.rounds {
		for i := range c.works {
			w := &c.works[i]
			if w.rounds > 0 && round >= w.rounds {
				continue
			}
			entries := c.entries[w.name]
			for j := range entries {
				e := entries[(j+round)%len(entries)]
				report, err := c.measure(ctx, w, e)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				c.results.Add(rig.Cell{Work: w.name, Server: e.label}, report, err)
				said := ""
				if err != nil {
					said = err.Error()
				} else {
					said = w.metrics[0].number(w.metrics[0].of(report)) + " " + w.metrics[0].title + "  " + report.Faults()
				}
				fmt.Fprintf(c.progress, "round %d  %-12s %-20s %s\n", round+1, w.name, e.label, said)
			}
		}
	}
	return nil
}

// measure makes one run with a fresh server.
func (c *comparison) measure(ctx context.Context, w *work, e entry) (report *load.Report, err error) {
	dir, err := os.MkdirTemp(c.programs.Dir, "run-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	port, err := ports.Take()
	if err != nil {
		return nil, err
	}
	defer port.Close()
	place := place{programs: c.programs, paths: c.paths, address: port.Address(), dir: dir, work: w}
	launch, err := e.peer.launch(&place)
	if err != nil {
		return nil, err
	}
	launch.Unpinned = w.allCores
	pin := rig.GeneratorCore
	if w.allCores {
		pin = load.AllCores
	}
	if err := load.Pin(os.Getpid(), pin); err != nil {
		return nil, err
	}
	s, err := rig.Start(ctx, launch)
	if err != nil {
		return nil, err
	}
	defer s.End()
	return w.run(ctx, e, load.Options{Address: s.Address, PID: s.PID, Duration: c.duration})
}

// place is where a server is to run, and for what.
type place struct {
	programs rig.Programs
	paths    paths
	address  string // that nobody else takes
	dir      string // for its files
	work     *work
}

// write writes a file of the server's.
func (p *place) write(name, text string) (path string, err error) {
	path = filepath.Join(p.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}
