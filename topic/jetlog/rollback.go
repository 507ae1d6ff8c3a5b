package jetlog

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// beginEpoch begins an epoch in a stream whose end was lost: what comes next
// gets ids that were given to other events. Only who has seen more of the stream
// than there is knows that this must be. All nodes have to open the log anew.
func (r *remote) beginEpoch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	for {
		meta, err := r.stream.handle.Info(ctx)
		if err != nil {
			return err
		}
		epochs, err := index.ParseEpochs(meta.Config.Metadata[metaEpochs])
		if err != nil {
			return err
		}
		x := index.NewShared(&r.log.opts.Bounds, epochs, window(r.log.opts.RetainBytes))
		if err := readSharedOnce(ctx, x, r.stream, func(uint64, uint64) {}); err != nil {
			return err
		}
		known := func(e index.Epoch) bool { return e.Number == x.Shared.Epochs.Newest() }
		if !slices.ContainsFunc(r.log.epochs, known) {
			return nil // somebody else was first
		}
		k := message.Link{ID: rand.Uint64(), Before: x.Shared.Last, After: x.Message, Epoch: keep.NewEpoch(), Clock: x.Clock + clockStride}
		request := r.request(k.After, message.AppendSharedHeader(nil, x.End+1, max(time.Now().UnixNano(), x.Shared.Nanos), k))
		reply, err := r.stream.writes.RequestMsgWithContext(ctx, request)
		if err != nil {
			return err
		}
		if _, err = readAck(reply.Data); err == nil {
			return nil
		}
		if refused, ok := errors.AsType[*jetstream.APIError](err); !ok || refused.ErrorCode != errCodeWrongLast {
			return err
		}
	}
}
