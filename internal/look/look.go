// Package look is how the pages of this project look: the style sheet that they
// share.
package look

import _ "embed"

// CSS has the colours by day and by night, and the plain elements.
//
//go:embed look.css
var CSS string
