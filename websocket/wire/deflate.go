package wire

import "strconv"

// permessage-deflate and its parameters (RFC 7692 §7.1).
const (
	deflateName             = "permessage-deflate"
	serverNoContextTakeover = "server_no_context_takeover"
	clientNoContextTakeover = "client_no_context_takeover"
	serverMaxWindowBits     = "server_max_window_bits"
	clientMaxWindowBits     = "client_max_window_bits"
)

// Deflate is a configuration of permessage-deflate: what a side asks for, or what both have agreed
// on. Window bits are 8 to 15, and have to be set.
type Deflate struct {
	// What a side sends refers to nothing before the message.
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool

	// How far back what a side sends may refer, as base-2 logarithms of bytes.
	ServerMaxWindowBits int
	ClientMaxWindowBits int
}

// Window gives what role sends with: how far back it may refer, and whether beyond the beginning
// of a message.
func (d Deflate) Window(role Role) (bits int, takeover bool) {
	if role == Server {
		return d.ServerMaxWindowBits, !d.ServerNoContextTakeover
	}
	return d.ClientMaxWindowBits, !d.ClientNoContextTakeover
}

// Offer gives what a client that wants d writes into Sec-WebSocket-Extensions. Servers may always
// ask for a smaller window of the client's.
func (d Deflate) Offer() Extension {
	e := Extension{Name: deflateName}
	if d.ServerNoContextTakeover {
		e.Params = append(e.Params, Param{Name: serverNoContextTakeover})
	}
	if d.ClientNoContextTakeover {
		e.Params = append(e.Params, Param{Name: clientNoContextTakeover})
	}
	if d.ServerMaxWindowBits < MaxWindowBits {
		e.Params = append(e.Params, Param{serverMaxWindowBits, strconv.Itoa(d.ServerMaxWindowBits)})
	}
	limit := Param{Name: clientMaxWindowBits}
	if d.ClientMaxWindowBits < MaxWindowBits {
		limit.Value = strconv.Itoa(d.ClientMaxWindowBits)
	}
	e.Params = append(e.Params, limit)
	return e
}

// Accept is the side of the server, which wants d at the most: it takes the first offer that is
// for permessage-deflate and valid, and gives what is agreed and the element that says so. A
// client that cannot limit its window keeps all of it.
func (d Deflate) Accept(offers []Extension) (agreed Deflate, answer Extension, ok bool) {
	for _, offer := range offers {
		p, ok := parseDeflate(offer, true)
		if !ok {
			continue
		}
		answer := Extension{Name: deflateName}
		agreed := Deflate{
			ServerNoContextTakeover: d.ServerNoContextTakeover || p.serverNoContextTakeover,
			ClientNoContextTakeover: d.ClientNoContextTakeover || p.clientNoContextTakeover,
			ServerMaxWindowBits:     min(d.ServerMaxWindowBits, p.serverBits(MaxWindowBits)),
			ClientMaxWindowBits:     p.clientBits(MaxWindowBits),
		}
		// §7.1.1.1, §7.1.1.2: a server may ask for both, whether or not the client offered them.
		if agreed.ServerNoContextTakeover {
			answer.Params = append(answer.Params, Param{Name: serverNoContextTakeover})
		}
		if agreed.ClientNoContextTakeover {
			answer.Params = append(answer.Params, Param{Name: clientNoContextTakeover})
		}
		// §7.1.2.1: an offered limit is accepted by the "same or smaller value".
		if p.serverMaxWindowBits != 0 || agreed.ServerMaxWindowBits < MaxWindowBits {
			answer.Params = append(answer.Params, Param{serverMaxWindowBits, strconv.Itoa(agreed.ServerMaxWindowBits)})
		}
		// §7.1.2.2: without the parameter in the offer, it must not be in the answer.
		if p.clientMaxWindowBits != 0 && d.ClientMaxWindowBits < agreed.ClientMaxWindowBits {
			agreed.ClientMaxWindowBits = d.ClientMaxWindowBits
			answer.Params = append(answer.Params, Param{clientMaxWindowBits, strconv.Itoa(agreed.ClientMaxWindowBits)})
		}
		return agreed, answer, true
	}
	return Deflate{}, Extension{}, false
}

// Agree is the side of the client, which has offered d: it gives what an answer to that agrees on.
// The handshake has to fail if it is no answer to it (§5.1, §7.1).
func (d Deflate) Agree(answer Extension) (agreed Deflate, ok bool) {
	p, ok := parseDeflate(answer, false)
	if !ok ||
		d.ServerNoContextTakeover && !p.serverNoContextTakeover ||
		p.serverBits(MaxWindowBits) > d.ServerMaxWindowBits ||
		p.clientBits(d.ClientMaxWindowBits) > d.ClientMaxWindowBits {
		return Deflate{}, false
	}
	return Deflate{
		ServerNoContextTakeover: p.serverNoContextTakeover,
		ClientNoContextTakeover: d.ClientNoContextTakeover || p.clientNoContextTakeover,
		ServerMaxWindowBits:     p.serverBits(MaxWindowBits),
		ClientMaxWindowBits:     p.clientBits(d.ClientMaxWindowBits),
	}, true
}

// deflateParams are the parameters of an element. Window bits are 0 if the parameter is missing,
// and unlimited if it has no value.
type deflateParams struct {
	serverNoContextTakeover bool
	clientNoContextTakeover bool
	serverMaxWindowBits     int
	clientMaxWindowBits     int
}

const unlimited = MaxWindowBits + 1

func (p deflateParams) serverBits(missing int) int {
	if p.serverMaxWindowBits == 0 {
		return missing
	}
	return p.serverMaxWindowBits
}

func (p deflateParams) clientBits(missing int) int {
	if p.clientMaxWindowBits == 0 || p.clientMaxWindowBits == unlimited {
		return missing
	}
	return p.clientMaxWindowBits
}

// parseDeflate refuses parameters that are not known, that come twice, and whose values are not
// valid (§7.1): an offer is declined for it, an answer fails the handshake.
func parseDeflate(e Extension, offer bool) (p deflateParams, ok bool) {
	if e.Name != deflateName {
		return p, false
	}
	for _, param := range e.Params {
		switch param.Name {
		case serverNoContextTakeover:
			ok = param.Value == "" && !p.serverNoContextTakeover
			p.serverNoContextTakeover = true
		case clientNoContextTakeover:
			ok = param.Value == "" && !p.clientNoContextTakeover
			p.clientNoContextTakeover = true
		case serverMaxWindowBits:
			ok = p.serverMaxWindowBits == 0
			p.serverMaxWindowBits = windowBits(param.Value)
			ok = ok && p.serverMaxWindowBits != 0
		case clientMaxWindowBits:
			ok = p.clientMaxWindowBits == 0
			p.clientMaxWindowBits = windowBits(param.Value)
			if param.Value == "" && offer { // §7.1.2.2: only in an offer it may have no value
				p.clientMaxWindowBits = unlimited
			}
			ok = ok && p.clientMaxWindowBits != 0
		default:
			ok = false
		}
		if !ok {
			return p, false
		}
	}
	return p, true
}

// windowBits reads "a decimal integer value without leading zeroes between 8 to 15, inclusive"
// (§7.1.2.1), and gives 0 if value is something else.
func windowBits(value string) int {
	bits, err := strconv.Atoi(value)
	if err != nil || bits < MinWindowBits || bits > MaxWindowBits || strconv.Itoa(bits) != value {
		return 0
	}
	return bits
}
