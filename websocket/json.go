package websocket

import (
	"context"
	"encoding/json"
	"fmt"
)

// ReadJSON reads a message, with the rules of [Conn.Read], and decodes it. A message that is not
// JSON, or does not fit T, is an error that leaves the connection usable; errors of the connection
// are those of Read.
func ReadJSON[T any](ctx context.Context, c *Conn) (T, error) {
	var v T
	_, message, err := c.Read(ctx)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(message, &v); err != nil {
		return v, fmt.Errorf("websocket: decode message: %w", err)
	}
	return v, nil
}

// WriteJSON sends v in JSON as a text message, with the rules of [Conn.Write].
func WriteJSON(ctx context.Context, c *Conn, v any) error {
	message, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("websocket: encode message: %w", err)
	}
	return c.Write(ctx, Text, message)
}
