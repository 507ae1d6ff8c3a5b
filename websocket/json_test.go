package websocket

import (
	"errors"
	"math"
	"net"
	"strings"
	"testing"
)

type point struct {
	X, Y int
	Name string `json:"name,omitempty"`
}

func TestJSON(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, echo), nil)
	want := point{1, 2, "a <b>"}
	if err := WriteJSON(t.Context(), c, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadJSON[point](t.Context(), c); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for message, complaint := range map[string]string{`{"X":`: "unexpected end", `{"X":"one"}`: "cannot unmarshal"} {
		if err := c.Write(t.Context(), Text, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJSON[point](t.Context(), c); err == nil || !strings.Contains(err.Error(), complaint) || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", message, err)
		}
	}
	if err := WriteJSON(t.Context(), c, math.NaN()); err == nil || !strings.Contains(err.Error(), "encode message") {
		t.Errorf("NaN: %v", err)
	}
	if err := WriteJSON(t.Context(), c, []int{1}); err != nil { // it is usable still
		t.Error(err)
	}
	if got, err := ReadJSON[[]int](t.Context(), c); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	c.CloseNow()
	if _, err := ReadJSON[any](t.Context(), c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
