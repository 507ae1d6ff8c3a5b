package load

import "testing"

func TestDuplexCursor(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":"k-1041","topic":"a","data":"x","time":"t"}`:   "k-1041",
		`{"id":"k-7","event":"$ping","data":{"interval":25}}`: "k-7",
		`{"id":"k-9"}`: "k-9",
		`{"events":[{"id":"k-1","data":"x"}],"cursor":"k-2-3","more":false}`: "k-2-3",
		`{"op":"ok","ref":1}`: "old",
		`{"id":"half`:         "old",
		``:                    "old",
	} {
		if got := string(duplexCursor([]byte("old"), []byte(text))); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestDuplexRequests(t *testing.T) {
	for _, test := range []struct {
		via    Transport
		topics []string
		after  string
		path   string
	}{
		{SSE, []string{"a b/ü"}, "", "/topics/a%20b/%C3%BC"},
		{WebSocket, []string{"a"}, "k-1", "/topics/a?after=k-1"},
		{Stream, []string{"a", "b"}, "", "/topics?topic=a&topic=b"},
		{LongPoll, []string{"a"}, "", "/topics/a?limit=1000&wait=0"},
		{LongPoll, []string{"a"}, "k-1", "/topics/a?after=k-1&limit=1000&wait=55"},
		{DuplexV1, []string{"a"}, "", "/topics/a"},
		{DuplexV1, []string{"a", "b"}, "", "/topics"},
	} {
		s, err := duplexSubscribe(test.via, test.topics, test.after)
		if err != nil || s.Path != test.path {
			t.Errorf("%v %v: %s, %v, want %s", test.via, test.topics, s.Path, err, test.path)
		}
	}
	s, err := duplexSubscribe(DuplexV1, []string{"a", "b"}, "k-1")
	if err != nil || len(s.Greet) != 2 || s.Greet[1] != `{"op":"subscribe","topic":"b","after":"k-1","ref":2}` || s.Ready != `"ref":2,` {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestDialectsRefuse(t *testing.T) {
	for _, d := range []*Dialect{Duplex, Hub, Requests} {
		if _, err := d.Subscribe(Raw, []string{"a"}, ""); err == nil {
			t.Error("a subscription over nothing")
		}
		if _, err := d.Publish(inFrames, "a"); err == nil {
			t.Error("published by nothing")
		}
	}
}
