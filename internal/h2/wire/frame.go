package wire

import "encoding/binary"

// headerBytes is the size of a frame's header (RFC 9113 §4.1): length (24),
// type (8), flags (8), reserved (1), stream (31).
const headerBytes = 9

// MaxFrame is the longest payload that is received, and sent: the least that
// every peer has to take (RFC 9113 §4.2). Long frames would hold up others.
const MaxFrame = 16 << 10

// Preface is what a client begins with (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A frameType is one of RFC 9113 §6 or RFC 9218 §7.1.
type frameType uint8

const (
	frameData           frameType = 0x00
	frameHeaders        frameType = 0x01
	framePriority       frameType = 0x02
	frameReset          frameType = 0x03
	frameSettings       frameType = 0x04
	framePush           frameType = 0x05
	framePing           frameType = 0x06
	frameGoAway         frameType = 0x07
	frameWindow         frameType = 0x08
	frameContinuation   frameType = 0x09
	framePriorityUpdate frameType = 0x10
)

const (
	flagAck        = 0x01 // of SETTINGS and PING
	flagEndStream  = 0x01 // of DATA and HEADERS
	flagEndHeaders = 0x04
	flagPadded     = 0x08
	flagPriority   = 0x20
)

// Settings (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1).
const (
	settingTableSize      = 0x1
	settingEnablePush     = 0x2
	settingMaxStreams     = 0x3
	settingWindow         = 0x4
	settingMaxFrame       = 0x5
	settingMaxHeaderList  = 0x6
	settingEnableConnect  = 0x8
	settingNoPriorityTree = 0x9
)

const (
	initialWindow = 65535
	maxWindow     = 1<<31 - 1
	maxStreamID   = 1<<31 - 1
)

type frameHeader struct {
	length int
	kind   frameType
	flags  uint8
	stream uint32
}

func (h frameHeader) has(flag uint8) bool { return h.flags&flag != 0 }

// parseHeader reads headerBytes. The reserved bit means nothing.
func parseHeader(p []byte) frameHeader {
	return frameHeader{
		length: int(p[0])<<16 | int(p[1])<<8 | int(p[2]),
		kind:   frameType(p[3]),
		flags:  p[4],
		stream: binary.BigEndian.Uint32(p[5:]) & maxStreamID,
	}
}

func appendHeader(dst []byte, length int, kind frameType, flags uint8, stream uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendSetting(dst []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, id), value)
}

// unpad takes padding off a payload (RFC 9113 §6.1).
func (h frameHeader) unpad(p []byte) ([]byte, *Fault) {
	if !h.has(flagPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, fault(FrameSizeError, "a padded frame without a length of its padding")
	}
	padding := int(p[0])
	if p = p[1:]; padding > len(p) {
		return nil, fault(ProtocolError, "more padding than frame") // "MUST treat this as a connection error"
	}
	return p[:len(p)-padding], nil
}
