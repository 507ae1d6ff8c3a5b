package wire

// Fault is what a peer did against the protocol or over a limit. The connection has to be failed
// with its code (RFC 6455 §7.1.7).
type Fault struct {
	Code   CloseCode
	Reason string // at most MaxReason bytes
}

func (f *Fault) Error() string { return "websocket: " + f.Reason }

var (
	faultReservedBits    = &Fault{CloseProtocolError, "reserved bit set"}
	faultReservedOpcode  = &Fault{CloseProtocolError, "reserved opcode"}
	faultControlFragment = &Fault{CloseProtocolError, "fragmented control frame"}
	faultControlLength   = &Fault{CloseProtocolError, "control frame longer than 125 bytes"}
	faultNotMasked       = &Fault{CloseProtocolError, "frame from a client is not masked"}
	faultMasked          = &Fault{CloseProtocolError, "frame from a server is masked"}
	faultLengthForm      = &Fault{CloseProtocolError, "length not in its shortest form"}
	faultLengthSign      = &Fault{CloseProtocolError, "length of more than 63 bits"}
	faultNothingToGoOn   = &Fault{CloseProtocolError, "continuation without a beginning"}
	faultNotContinued    = &Fault{CloseProtocolError, "new message inside a fragmented one"}
	faultClosePayload    = &Fault{CloseProtocolError, "close payload of one byte"}
	faultCloseCode       = &Fault{CloseProtocolError, "close code that may not be sent"}
	faultCloseReason     = &Fault{CloseInvalidPayload, "close reason is not UTF-8"}
	faultText            = &Fault{CloseInvalidPayload, "text is not UTF-8"}
	faultTooBig          = &Fault{CloseTooBig, "too-big"}
	faultDeflate         = &Fault{CloseInvalidPayload, "compressed data is not valid"}
	faultDeflateEnd      = &Fault{CloseInvalidPayload, "compressed message is cut short"}
	faultFragments       = &Fault{ClosePolicyViolation, "too many fragments"}
)
