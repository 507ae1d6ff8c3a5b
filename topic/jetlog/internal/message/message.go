// Package message is the form of a log's messages: appends become bytes, and
// bytes become appends. It does no I/O.
//
// A message of the stream holds one or more appends, which were stored
// together. Numbers are unsigned varints, and texts have their length before
// them, unless said otherwise:
//
//	version     1 byte, formatVersion
//	first       sequence number of the first entry; the others follow by one each
//	time        8 bytes, little endian: Unix nanoseconds, of all entries
//	appends, until the end of the message:
//	  flags     1 byte: flagKey, flagUnkept
//	  topic
//	  key       value, and 32 bytes of digest; with flagKey only
//	  count     of entries
//	  entries, not with flagUnkept:
//	    form    1 byte: kind in the lower half, media type in the upper one
//	    type    the rest not for the end of a topic
//	    media   for otherMedia only
//	    data
//
// A message of a stream that several nodes share begins with sharedVersion.
// Between the time and the appends it has
//
//	id          8 bytes, little endian: of the message
//	before      8 bytes: the id of the message before it
//	after       number of the message before it
//	epoch       of its entries
//	clock       the loss clock, once the message is part of the log
//
// It may hold no append, and is part of the log only if after is right: else
// its author has not known all that came before it.
//
// A message of the store of old entries begins with carriedVersion. Then come,
// until its end, messages of the form above, each with its length before it:
// one for each entry, as these need not be consecutive.
package message

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/duplexhq/duplex/topic"
)

const (
	formatVersion  = 1
	carriedVersion = 2
	sharedVersion  = 3

	flagKey    = 1
	flagUnkept = 2 // ephemeral: the entries have had their numbers, and are gone
	maxEntries = math.MaxInt32
	endKind    = 15 // in place of the kind: the end of the topic
	otherMedia = 15 // not one of commonMedia
)

// commonMedia are the media types that take no room. New ones may be added at
// the end, up to otherMedia.
var commonMedia = [...]string{"", "text/plain", "application/json", "application/octet-stream"}

// ErrFormat says that something is not a message, or one of another version.
var ErrFormat = errors.New("jetlog: a message of the stream is not in the format of this program")

// AppendHeader appends the start of a message: the sequence number of its first
// entry, and the time of all, in Unix nanoseconds.
func AppendHeader(dst []byte, first uint64, nanos int64) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, first)
	return binary.LittleEndian.AppendUint64(dst, uint64(nanos))
}

// A Link is what a message of a shared stream says of the stream.
type Link struct {
	ID, Before          uint64
	After, Epoch, Clock uint64
}

// AppendSharedHeader appends the start of a message of a shared stream.
func AppendSharedHeader(dst []byte, first uint64, nanos int64, k Link) []byte {
	dst = AppendHeader(dst, first, nanos)
	dst[0] = sharedVersion
	dst = binary.LittleEndian.AppendUint64(dst, k.ID)
	dst = binary.LittleEndian.AppendUint64(dst, k.Before)
	dst = binary.AppendUvarint(dst, k.After)
	dst = binary.AppendUvarint(dst, k.Epoch)
	return binary.AppendUvarint(dst, k.Clock)
}

// AppendDrafts appends one append to a message.
func AppendDrafts(dst []byte, name string, drafts []topic.Draft, key topic.Key) []byte {
	dst = appendName(dst, 0, name, key)
	dst = binary.AppendUvarint(dst, uint64(len(drafts)))
	for i := range drafts {
		dst = appendDraft(dst, &drafts[i])
	}
	return dst
}

// AppendUnkept appends an append without its entries.
func AppendUnkept(dst []byte, name string, entries int, key topic.Key) []byte {
	dst = appendName(dst, flagUnkept, name, key)
	return binary.AppendUvarint(dst, uint64(entries))
}

func appendName(dst []byte, flags byte, name string, key topic.Key) []byte {
	if key.Value == "" {
		return AppendText(append(dst, flags), name)
	}
	dst = AppendText(append(dst, flags|flagKey), name)
	dst = AppendText(dst, key.Value)
	return append(dst, key.Digest[:]...)
}

func appendDraft(dst []byte, d *topic.Draft) []byte {
	if d.IsEnd() {
		return append(dst, endKind)
	}
	media := byte(otherMedia)
	for i, m := range commonMedia {
		if m == d.Media {
			media = byte(i)
		}
	}
	dst = append(dst, media<<4|byte(d.Kind))
	dst = AppendText(dst, d.Type)
	if media == otherMedia {
		dst = AppendText(dst, d.Media)
	}
	return AppendText(dst, d.Data)
}

// AppendText appends a text with its length before it.
func AppendText[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// BeginCarried begins a message of the store of old entries.
func BeginCarried() []byte { return []byte{carriedVersion} }

// AppendCarried appends an entry to it.
func AppendCarried(dst []byte, e *topic.Entry, seq uint64, name string) []byte {
	one := AppendHeader(nil, seq, e.Time().UnixNano())
	return AppendText(dst, AppendDrafts(one, name, []topic.Draft{{Type: e.Type, Media: e.Media, Data: e.Data, Kind: e.Kind}}, topic.Key{}))
}
