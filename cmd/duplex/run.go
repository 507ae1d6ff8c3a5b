package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/duplexhq/duplex/server"
)

// commands is the command line: flags, environment and file say the same
// names.
type commands struct {
	Help   helpFlag   `short:"h" help:"Show what a command does, its flags, and examples."`
	Config configFlag `type:"existingfile" placeholder:"FILE" help:"Take flags that are not given from this YAML file."`

	Serve   serveCommand   `cmd:"" help:"Serve topics over HTTP and WebSocket."`
	Pub     pubCommand     `cmd:"" help:"Publish events to a topic."`
	Sub     subCommand     `cmd:"" help:"Print the events of topics as they come."`
	WS      wsCommand      `cmd:"" name:"ws" help:"Talk to any WebSocket server."`
	Check   checkCommand   `cmd:"" help:"Find out which transports pass between here and a server, and why others do not."`
	Bench   benchCommand   `cmd:"" help:"Measure a server on this machine, and check what it delivers."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

const description = `Events from your backend to browsers, apps and services, and back, over whatever way of the web works.

Every flag can be set in the environment, as DUPLEX_ and its name (DUPLEX_LISTEN for --listen), and in a YAML file (listen: ...).
The command line wins over the environment, and the environment over the file.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the server, 4 server not reached or connection lost, 130 interrupted.`

// A console is what a command talks to.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// note tells a person something that is not the output.
func (c *console) note(format string, values ...any) {
	fmt.Fprintf(c.err, "duplex: "+format+"\n", values...)
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, c *console) int {
	parser, err := kong.New(new(commands),
		kong.Name("duplex"),
		kong.Description(description),
		kong.Writers(c.out, c.err),
		kong.NoDefaultHelp(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.DefaultEnvars("DUPLEX"),
		kong.Vars{"tls_dev_dir": defaultDevDir(), "acme_directory": server.DefaultACMEDirectory},
		kong.Configuration(readConfig),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(c),
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	command, err := parser.Parse(args)
	switch {
	case errors.Is(err, errHelp):
		return exitDone
	case err != nil:
		c.note("%v", err)
		c.note("see duplex --help")
		return exitUsage
	}
	if err := command.Run(); err != nil {
		code, text := explain(ctx, err)
		if text != "" {
			c.note("%s", text)
		}
		return code
	}
	return exitDone
}

// errHelp ends the parsing because help was asked for.
var errHelp = errors.New("help")

// helpFlag is like kong's own, which would end the process.
type helpFlag bool

// IsBool lets the flag stand without a value.
func (helpFlag) IsBool() bool { return true }

// BeforeReset prints the help, whatever is wrong with the other flags.
func (helpFlag) BeforeReset(ctx *kong.Context) error {
	out := ctx.Stdout
	var text strings.Builder
	ctx.Stdout = &text
	err := ctx.PrintUsage(false)
	ctx.Stdout = out
	if err != nil {
		return err
	}
	// kong shows what separates several values, which are lines for some flags.
	if _, err := io.WriteString(out, strings.ReplaceAll(text.String(), "\n...", "    ")); err != nil {
		return err
	}
	return errHelp
}
