//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// debianPython is the one for which the packages are installed.
const debianPython = "/usr/bin/python3"

// python runs a script of testdata, which asserts for itself.
func python(t *testing.T, script string, args ...string) {
	t.Helper()
	out := run(t, pythonCommand(t, script, args...))
	t.Logf("%s", out)
	if !strings.HasSuffix(out, "done\n") {
		t.Errorf("%s did not come to its end", script)
	}
}

func pythonCommand(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(tool(t, debianPython, "python3"), append([]string{"testdata/" + script}, args...)...)
	cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
	return cmd
}

// needs is a package of Python that must be there.
func needs(t *testing.T, module string) {
	t.Helper()
	p := start(t, command(tool(t, debianPython, "python3"), "-c", "import "+module))
	if p.exitCode(t) != 0 {
		t.Fatalf("the Python package %s is missing: apt-get install python3-%s", module, module)
	}
}

func TestPythonStandardLibrary(t *testing.T) {
	python(t, "stdlib.py", serve(t).url)
}

func TestPythonPackages(t *testing.T) {
	for module, script := range map[string]string{
		"websocket":  "websocket_client.py",
		"websockets": "websockets_client.py",
		"aiohttp":    "aiohttp_client.py",
	} {
		t.Run(module, func(t *testing.T) {
			needs(t, module)
			python(t, script, serve(t).url)
		})
	}
}

// A session of requests polls a hundred times over one TCP connection: nothing
// in the answers keeps a client from using it again (RFC 9112 §9.3).
func TestPythonRequests(t *testing.T) {
	needs(t, "requests")
	s := serve(t)
	counting := newCutter(t, s.addr)
	python(t, "requests_client.py", counting.url)
	if n := counting.connections(); n != 2 {
		t.Errorf("%d connections, not one for the polls and one for the stream", n)
	}
}
