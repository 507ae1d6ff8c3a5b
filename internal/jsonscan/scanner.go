package jsonscan

// A scanner goes over JSON text (RFC 8259). Once it has found a fault it
// stays where it is, and its methods do nothing.
type scanner struct {
	data  []byte
	at    int
	fault string // "" if there is none
}

func (s *scanner) fail(reason string) {
	if s.fault == "" {
		s.fault = reason
	}
}

// peek is the next byte, or 0, which no JSON text holds, if there is none.
func (s *scanner) peek() byte {
	if s.fault != "" || s.at >= len(s.data) {
		return 0
	}
	return s.data[s.at]
}

// take goes over c if it is next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) space() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// end wants nothing but white space to follow.
func (s *scanner) end() {
	s.space()
	if s.at < len(s.data) {
		s.fail("want the end")
	}
}

func (s *scanner) colon() {
	s.space()
	if !s.take(':') {
		s.fail(`want ":"`)
	}
	s.space()
}

// more goes over what may follow an element, and reports whether it was a
// comma, so that there is another one.
func (s *scanner) more(closing byte) bool {
	s.space()
	if s.take(',') {
		s.space()
		return true
	}
	if !s.take(closing) {
		s.fail(`want "," or "` + string(closing) + `"`)
	}
	return false
}

// value goes over one value (RFC 8259 §3) inside of depth others.
func (s *scanner) value(depth int) {
	switch c := s.peek(); c {
	case '{', '[':
		if depth == MaxDepth {
			s.fail("nested too deep")
			return
		}
		if c == '{' {
			s.object(depth)
		} else {
			s.array(depth)
		}
	case '"':
		s.string()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
}

func (s *scanner) object(depth int) {
	s.at++
	s.space()
	if s.take('}') {
		return
	}
	for {
		s.string()
		s.colon()
		s.value(depth + 1)
		if !s.more('}') {
			return
		}
	}
}

func (s *scanner) array(depth int) {
	s.at++
	s.space()
	if s.take(']') {
		return
	}
	for {
		s.value(depth + 1)
		if !s.more(']') {
			return
		}
	}
}

func (s *scanner) word(word string) {
	for i := range len(word) {
		if !s.take(word[i]) {
			s.fail("want a value")
			return
		}
	}
}

// number goes over a number: no plus, no leading zero, no bare point (§6).
func (s *scanner) number() {
	s.take('-')
	if !s.take('0') && !s.digits() {
		s.fail("want a value")
		return
	}
	if s.take('.') && !s.digits() {
		s.fail("want a digit")
		return
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			s.fail("want a digit")
		}
	}
}

func (s *scanner) digits() bool {
	start := s.at
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > start
}
