package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal gives both ends of a terminal: of the person and of the program.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// A person sees a prompt, and may be wrong.
func TestWSPrompt(t *testing.T) {
	person, program := openTerminal(t)
	screen := newOutput()
	go io.Copy(screen, person) // ends with the terminal
	code := make(chan int)
	address := serveWS(t, echo)
	go func() {
		code <- run(t.Context(), []string{"ws", address}, &console{in: program, out: program, err: program})
	}()
	screen.wait(t, "duplex: connected\r\n\r\x1b[K> ")
	for _, step := range [][2]string{
		{"hello", "\r\x1b[K< hello\r\n> "},
		{"/nothing", "duplex: no command is called /nothing: /help lists them, and // sends a line that begins with /\r\n> "},
		{"/help", "    /close "},
	} {
		io.WriteString(person, step[0]+"\n")
		screen.wait(t, step[1])
	}
	io.WriteString(person, "/close\n")
	if got := <-code; got != exitDone {
		t.Errorf("exit code %d", got)
	}
	if strings.Contains(screen.String(), "> > ") {
		t.Errorf("two prompts: %q", screen)
	}
}
