package sse

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// reference is the standard's algorithm word for word, on a whole stream: UTF-8
// decode, then lines, then fields. It is slow and short on purpose.
func reference(stream []byte) (out []string) {
	text := strings.TrimPrefix(decodeUTF8(stream), "\uFEFF")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	lines := strings.Split(text, "\n")

	var data, typ, id string
	for _, line := range lines[:len(lines)-1] { // what follows the last end is no line yet
		if line == "" {
			if data != "" {
				if typ == "" {
					typ = "message"
				}
				out = append(out, fmt.Sprintf("%s|%s|%s", typ, id, strings.TrimSuffix(data, "\n")))
			}
			data, typ = "", ""
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			typ = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		}
	}
	return out
}

// decodeUTF8 is the state machine of the Encoding Standard's UTF-8 decoder
// (§8.1.1), byte by byte.
func decodeUTF8(in []byte) string {
	var out strings.Builder
	var point rune
	seen, needed := 0, 0
	lower, upper := byte(0x80), byte(0xBF)
	for i := 0; i < len(in); i++ {
		b := in[i]
		if needed == 0 {
			switch {
			case b <= 0x7F:
				out.WriteByte(b)
			case b >= 0xC2 && b <= 0xDF:
				needed, point = 1, rune(b&0x1F)
			case b >= 0xE0 && b <= 0xEF:
				if b == 0xE0 {
					lower = 0xA0
				}
				if b == 0xED {
					upper = 0x9F
				}
				needed, point = 2, rune(b&0xF)
			case b >= 0xF0 && b <= 0xF4:
				if b == 0xF0 {
					lower = 0x90
				}
				if b == 0xF4 {
					upper = 0x8F
				}
				needed, point = 3, rune(b&0x7)
			default:
				out.WriteRune('\uFFFD')
			}
			continue
		}
		if b < lower || b > upper {
			point, seen, needed = 0, 0, 0
			lower, upper = 0x80, 0xBF
			i-- // "Restore byte to ioQueue."
			out.WriteRune('\uFFFD')
			continue
		}
		lower, upper = 0x80, 0xBF
		point = point<<6 | rune(b&0x3F)
		if seen++; seen == needed {
			out.WriteRune(point)
			point, seen, needed = 0, 0, 0
		}
	}
	if needed > 0 {
		out.WriteRune('\uFFFD')
	}
	return out.String()
}

// Every way to cut a stream gives the events that the standard's algorithm
// gives for the whole, and no more than the limit is held.
func FuzzParser(f *testing.F) {
	for i, test := range parserTests {
		f.Add([]byte(test.input), uint8(i), uint16(0))
	}
	f.Add([]byte("data: 12345\n\n:comment\nid: 1\nevent: \xF0\x90\r\r"), uint8(3), uint16(5))
	f.Add([]byte("event: \xED\xA0\x80\xF4\x90\ndata:\xC0\xAF\xE0\x9F\n\n"), uint8(1), uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8, limit uint16) {
		chunks := []string{}
		for chunk := range slices.Chunk(stream, int(size)%16+1) {
			chunks = append(chunks, string(chunk))
		}
		parse := func(chunks ...string) ([]string, error) {
			p := &Parser{MaxEventBytes: int(limit)}
			var out []string
			for _, chunk := range chunks {
				_, err := feedPlain(p, &out, chunk)
				if held := len(p.data) + len(p.typ) + len(p.id) + len(p.value); limit > 0 && held > int(limit) {
					t.Fatalf("%d bytes held, limit %d", held, limit)
				}
				if err != nil {
					return out, err
				}
			}
			return out, nil
		}
		whole, wholeErr := parse(string(stream))
		cut, cutErr := parse(chunks...)
		if !slices.Equal(whole, cut) || (wholeErr == nil) != (cutErr == nil) {
			t.Errorf("whole: %q, %v; in %d chunks: %q, %v", whole, wholeErr, len(chunks), cut, cutErr)
		}
		want := reference(stream)
		if wholeErr == nil && !slices.Equal(whole, want) {
			t.Errorf("got %q, want %q", whole, want)
		}
		if wholeErr != nil {
			if _, ok := errors.AsType[*TooBigError](wholeErr); !ok || len(whole) > len(want) || !slices.Equal(whole, want[:len(whole)]) {
				t.Errorf("got %q, %v; want the beginning of %q", whole, wholeErr, want)
			}
		}
	})
}

// What is appended is what is parsed, whatever it holds and whatever is around
// it, but for what the format cannot carry: other line ends than LF.
func FuzzRoundTrip(f *testing.F) {
	f.Add("1", "order", []byte("a\nb"), "ping", uint8(0))
	f.Add("", "message", []byte("\r\n\r"), "\n\ndata: x\n\n", uint8(7))
	f.Add(" ", ":", []byte(" : \uFEFF\n\nid: 2\n\n"), "", uint8(1))
	f.Add("1\n2", "x", []byte(nil), "\xFF", uint8(2))
	f.Add("1", "\x00", []byte("\x00\xE2\x82"), "\r", uint8(3))
	f.Fuzz(func(t *testing.T, id, typ string, data []byte, comment string, size uint8) {
		stream := AppendComment(nil, comment)
		before := len(stream)
		stream, err := AppendEvent(stream, &Event{ID: id, Type: typ, Data: data})
		if strings.ContainsAny(id+typ, "\r\n\x00") != (err != nil) {
			t.Fatalf("id %q, type %q: error %v", id, typ, err)
		}
		if err != nil {
			if len(stream) != before {
				t.Fatalf("error %v, but appended %q", err, stream[before:])
			}
			return
		}
		stream = AppendComment(AppendRetry(stream, 1e9), comment)

		if typ == "" {
			typ = "message"
		}
		text := strings.ReplaceAll(string(data), "\r\n", "\n")
		text = strings.ReplaceAll(text, "\r", "\n")
		want := []string{decodeUTF8([]byte(typ)) + "|" + decodeUTF8([]byte(id)) + "|" + decodeUTF8([]byte(text))}

		p := &Parser{MaxEventBytes: -1}
		var got []string
		for chunk := range slices.Chunk(stream, int(size)%16+1) {
			if _, err := feedPlain(p, &got, string(chunk)); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) || p.Retry != 1e9 {
			t.Errorf("got %q and retry %v, want %q", got, p.Retry, want)
		}
		if bytes.ContainsRune(stream, '\r') {
			t.Errorf("CR in %q", stream)
		}
	})
}
