// Package jsonscan reads the small JSON objects that control things, one
// member at a time, and leaves their values as the bytes they are.
//
// It is stricter than encoding/json, because what it refuses is read in
// different ways by different readers (RFC 8259 §4, §8.1, §8.2): keys that
// come twice, bytes that are not UTF-8, and strings with half a surrogate pair.
package jsonscan

import (
	"bytes"
	"iter"
	"strconv"
	"unicode/utf8"
)

// Limits, as RFC 8259 §9 allows a reader to set.
const (
	// MaxDepth is how deep arrays and objects may be nested in one value. The
	// object that Members reads does not count, so a value has room for the
	// same depth alone and as a member.
	MaxDepth = 512
	// MaxMembers is how many members an object may have that Members reads.
	MaxMembers = 64
)

// A SyntaxError says where and why data is refused.
type SyntaxError struct {
	Offset int
	Reason string
}

func (e *SyntaxError) Error() string {
	return "jsonscan: byte " + strconv.Itoa(e.Offset) + ": " + e.Reason
}

// A Member is one member of an object. Both fields are valid as long as the
// data that was read.
type Member struct {
	Key   []byte // decoded
	Value []byte // valid JSON as it was written, without white space around it
}

// Members gives the members of the object that data is, in the order they are
// written. An error is a *SyntaxError and the last step: what was made of the
// members before it is to be dropped.
func Members(data []byte) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		s := scanner{data: data}
		if s.members(yield) && s.fault != "" {
			yield(Member{}, &SyntaxError{Offset: s.at, Reason: s.fault})
		}
	}
}

// Valid reports whether data is one JSON value.
func Valid(data []byte) bool {
	s := scanner{data: data}
	s.checkUTF8()
	s.space()
	s.value(0)
	s.end()
	return s.fault == ""
}

// members reports whether yield wants to hear of a fault.
func (s *scanner) members(yield func(Member, error) bool) bool {
	s.checkUTF8()
	s.space()
	if !s.take('{') {
		s.fail("want an object")
		return true
	}
	s.space()
	if s.take('}') {
		s.end()
		return true
	}
	keys := make([][]byte, 0, 8)
	for s.fault == "" {
		m := Member{Key: s.key()}
		if s.fault == "" {
			if len(keys) == MaxMembers {
				s.fail("more than 64 members")
			}
			for _, key := range keys {
				if bytes.Equal(key, m.Key) {
					s.fail("the second member with this key")
				}
			}
			keys = append(keys, m.Key)
		}
		s.colon()
		start := s.at
		s.value(0)
		if s.fault != "" {
			return true
		}
		m.Value = s.data[start:s.at]
		if !yield(m, nil) {
			return false
		}
		if !s.more('}') {
			break
		}
	}
	s.end()
	return true
}

// key reads and decodes a string. Without an escape it is part of the data.
func (s *scanner) key() []byte {
	start := s.at
	s.string()
	if s.fault != "" {
		return nil
	}
	raw := s.data[start:s.at]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	key, err := AppendString(nil, raw)
	if err != nil {
		s.fail("the key is not Unicode")
	}
	return key
}

func (s *scanner) checkUTF8() {
	if !utf8.Valid(s.data) {
		s.fail("not UTF-8")
	}
}
