package wire

import "strings"

// Extension is an element of Sec-WebSocket-Extensions (RFC 6455 §9.1).
type Extension struct {
	Name   string
	Params []Param
}

// Param is a parameter of an extension.
type Param struct {
	Name  string
	Value string // "" if it has none
}

func (e Extension) String() string {
	var b strings.Builder
	b.WriteString(e.Name)
	for _, p := range e.Params {
		b.WriteString("; " + p.Name)
		if p.Value != "" {
			b.WriteString("=" + p.Value)
		}
	}
	return b.String()
}

// Extensions gives the elements of a Sec-WebSocket-Extensions field, over all of its lines and in
// their order: the first is what its sender likes best. Parameters are as they came, also those
// that repeat. If ok is false, the handshake has to fail (§9.1).
func Extensions(lines []string) (extensions []Extension, ok bool) {
	for _, line := range lines {
		s := extensionScanner(line)
		for {
			for s.skip(",") { // RFC 9110 §5.6.1.2: empty elements mean nothing
			}
			if s == "" {
				break
			}
			e, ok := s.extension()
			if !ok || s != "" && s[0] != ',' {
				return nil, false
			}
			extensions = append(extensions, e)
		}
	}
	return extensions, true
}

// extensionScanner is what is left of a line.
type extensionScanner string

// skip leaves out white space, and c if it comes next, which it reports, and white space after
// it.
func (s *extensionScanner) skip(c string) bool {
	const space = " \t"
	rest, found := strings.CutPrefix(strings.TrimLeft(string(*s), space), c)
	if found {
		rest = strings.TrimLeft(rest, space)
	}
	*s = extensionScanner(rest)
	return found
}

func (s *extensionScanner) extension() (e Extension, ok bool) {
	if e.Name = s.token(); e.Name == "" {
		return e, false
	}
	for s.skip(";") {
		p := Param{Name: s.token()}
		if p.Name == "" {
			return e, false
		}
		if s.skip("=") {
			if p.Value = s.value(); p.Value == "" {
				return e, false
			}
		}
		e.Params = append(e.Params, p)
	}
	return e, true
}

func (s *extensionScanner) token() string {
	n := 0
	for n < len(*s) && isToken(string((*s)[n:n+1])) {
		n++
	}
	token := (*s)[:n]
	*s = (*s)[n:]
	return string(token)
}

// value reads a token, or a quoted string that "after quoted-string unescaping MUST conform to
// the 'token' ABNF" (§9.1).
func (s *extensionScanner) value() string {
	if *s == "" || (*s)[0] != '"' {
		return s.token()
	}
	var value []byte
	for i := 1; i < len(*s); i++ {
		switch c := (*s)[i]; c {
		case '"':
			*s = (*s)[i+1:]
			if !isToken(string(value)) {
				return ""
			}
			return string(value)
		case '\\':
			if i++; i < len(*s) {
				value = append(value, (*s)[i])
			}
		default:
			value = append(value, c)
		}
	}
	return ""
}
