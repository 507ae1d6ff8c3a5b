//go:build linux

// Command compare puts our WebSocket server and those of other libraries under
// the same load, side by side in one run, and prints what each costs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// floor is the name of the server that knows no protocol.
const floor = "go-epoll(raw)"

func main() { rig.Main("compare", run) }

type settings struct {
	quick    bool
	unpinned bool
	rounds   int
	duration time.Duration
	groups   []string
	servers  []string
	chart    string
}

func parse(args []string, errOut io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.BoolVar(&s.quick, "quick", false, "fewer works and connections: about two minutes")
	flags.BoolVar(&s.unpinned, "unpinned", false, "let server and generator have all cores, in place of one each")
	flags.IntVar(&s.rounds, "rounds", 3, "runs of each server with each work")
	flags.DurationVar(&s.duration, "duration", 500*time.Millisecond, "measured time of each run")
	groups := flags.String("run", strings.Join(groupNames(), ","), "works to run")
	servers := flags.String("lib", floor+",duplex-event,duplex-goroutine,gorilla,coder,gobwas,gws", "servers to compare")
	flags.StringVar(&s.chart, "svg", "compare.svg", "file for the chart; empty for none")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.groups, s.servers = strings.Split(*groups, ","), strings.Split(*servers, ",")
	for _, name := range s.groups {
		if !slices.Contains(groupNames(), name) {
			return s, fmt.Errorf("-run %s: must be of %s", name, strings.Join(groupNames(), ", "))
		}
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.rounds < 1, s.duration <= 0:
		return s, errors.New("-rounds and -duration must be more than 0")
	case !s.unpinned && runtime.NumCPU() < 2:
		return s, errors.New("one core for the server and one for the generator are needed, or -unpinned")
	}
	return s, nil
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	programs, err := rig.Build(ctx, module+"/server", module+"/floor")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, programs.Remove()) }()
	c := comparison{settings: s, programs: programs, progress: progress, began: time.Now(), results: rig.Results{}}
	if c.conditions, err = rig.ReadConditions(ctx, programs.Path("server")); err != nil {
		return err
	}
	if !s.unpinned {
		if err := load.Pin(os.Getpid(), rig.GeneratorCore); err != nil {
			return err
		}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	if err := c.writeMarkdown(out); err != nil {
		return err
	}
	if s.chart != "" {
		if err := os.WriteFile(s.chart, c.chart().SVG(), 0o666); err != nil {
			return err
		}
	}
	if faults := c.faults(); len(faults) > 0 {
		return fmt.Errorf("%d runs had faults: their figures mean nothing", len(faults))
	}
	return nil
}

type comparison struct {
	settings
	programs   rig.Programs
	progress   io.Writer
	conditions rig.Conditions
	began      time.Time
	results    rig.Results
}

// groupsToRun gives the groups that were asked for with the works that are
// to be run.
func (c *comparison) groupsToRun() (chosen []group) {
	for _, g := range groups(c.quick) {
		if slices.Contains(c.groups, g.name) {
			chosen = append(chosen, g)
		}
	}
	return chosen
}

// run takes the servers in turn within each round, so that whatever else
// happens on the machine meets all of them.
func (c *comparison) run(ctx context.Context) error {
	for round := range c.rounds {
		for _, g := range c.groupsToRun() {
			for _, w := range g.works {
				for i := range c.servers {
					server := c.servers[(i+round)%len(c.servers)]
					if w.deflate && server == floor {
						continue
					}
					report, err := c.measure(ctx, w, server)
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					at := rig.Cell{Work: w.name, Server: server}
					c.results.Add(at, report, err)
					c.tell(round, g.metrics[0], at, report, err)
				}
			}
		}
	}
	return nil
}

func (c *comparison) tell(round int, m metric, at rig.Cell, report *load.Report, err error) {
	said := ""
	switch {
	case errors.Is(err, rig.ErrUnable):
		said = "does not do this"
	case err != nil:
		said = err.Error()
	default:
		said = fmt.Sprintf("%s %s  %s", m.format(m.of(report)), m.title, report.Faults())
	}
	fmt.Fprintf(c.progress, "round %d  %-26s %-18s %s\n", round+1, at.Work, at.Server, said)
}

// measure makes one run with a fresh server.
func (c *comparison) measure(ctx context.Context, w work, server string) (report *load.Report, err error) {
	s, err := start(ctx, c.programs, w, server, c.unpinned)
	if err != nil {
		return nil, err
	}
	defer s.End()
	transport := load.WebSocket
	if server == floor {
		transport = load.Raw
	}
	return w.run(ctx, transport, load.Options{
		Address:  s.Address,
		PID:      s.PID,
		Duration: c.duration,
	})
}

// faults lists the runs whose figures mean nothing.
func (c *comparison) faults() (faults []string) {
	for _, g := range c.groupsToRun() {
		for _, w := range g.works {
			for _, server := range c.servers {
				for _, fault := range c.results.Faults(rig.Cell{Work: w.name, Server: server}) {
					faults = append(faults, fmt.Sprintf("%s, %s, %s", server, w.name, fault))
				}
			}
		}
	}
	return faults
}
