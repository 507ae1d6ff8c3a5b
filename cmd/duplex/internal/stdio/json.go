package stdio

import (
	"bytes"
	"encoding/json"
)

// JSON is json.Marshal that leaves <, > and & as they are: nobody takes a
// terminal for HTML. It panics on a value that has no JSON.
func JSON(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
