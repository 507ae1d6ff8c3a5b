package jetlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/duplexhq/duplex/topic"
)

// All nodes of a stream must keep events by the same options: what one has lost,
// remembers or has ended, the others must have, too. The options are in the
// metadata of the stream. Who comes with others is refused while there is a node
// that goes by them; else they are changed.

// ErrOptions says that other nodes of the stream keep events by other options.
var ErrOptions = errors.New("jetlog: other nodes keep events by other options")

const (
	metaOptions = "duplex-options"
	// agreePatience is how long other nodes may take to say that they are there.
	agreePatience = 3 * time.Second
)

// shared are the options that must be the same for all nodes, one in a line,
// each with the name that it has for users.
func (o *Options) shared() string {
	limit := func(n int64) string {
		if n == math.MaxInt64 {
			return "without limit"
		}
		return fmt.Sprint(n)
	}
	age := fmt.Sprint(o.RetainAge)
	if o.RetainAge == math.MaxInt64 {
		age = "without limit"
	}
	lines := []string{
		"retain-events " + limit(int64(o.RetainEvents)),
		"retain-age " + age,
		"retain-bytes " + limit(o.RetainBytes),
		fmt.Sprint("idempotency-window ", o.IdempotencyWindow),
		"max-topics " + limit(int64(o.MaxTopics)),
		"max-keys " + limit(int64(o.MaxKeys)),
	}
	for r := range o.Rules.All() {
		if r.Pattern == (topic.Pattern{}) {
			continue // what goes for all other topics
		}
		line := "rule " + r.Pattern.String() + ":"
		if r.RetainEvents != nil {
			line += fmt.Sprint(" retain-events=", *r.RetainEvents)
		}
		if r.RetainAge > 0 {
			line += fmt.Sprint(" retain-age=", r.RetainAge)
		}
		switch r.Slow { // the others are only of who reads
		case topic.SlowConflate:
			line += " slow=conflate"
		case topic.SlowConflateTypes:
			line += " slow=conflate-types"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// differing says where options differ, for people.
func differing(theirs, own string) error {
	a, b := strings.Split(theirs, "\n"), strings.Split(own, "\n")
	only := func(these, those []string) string {
		these = slices.DeleteFunc(slices.Clone(these), func(line string) bool { return slices.Contains(those, line) })
		if len(these) == 0 {
			return "nothing of that"
		}
		return strings.Join(these, ", ")
	}
	if only(a, b) == only(b, a) {
		return fmt.Errorf("%w: the rules come in another order", ErrOptions)
	}
	return fmt.Errorf("%w: they have %s; this one has %s; give all the same, or stop all before one starts with what is new", ErrOptions, only(a, b), only(b, a))
}

// tellNodes has a node tell others by what options it goes. It begins before
// the stream is made: of two that come at once, one knows of the other.
func tellNodes(c connections, subject string, node uint64, own string) error {
	_, err := c.reads.Subscribe(subject, func(m *nats.Msg) {
		if string(m.Data) != fmt.Sprint(node) {
			m.Respond([]byte(own))
		}
	})
	return err
}

// agree sees to it that no other node goes by other options.
func (r *remote) agree(ctx context.Context) error {
	own := r.log.opts.shared()
	if r.stream.config().Metadata[metaOptions] == own {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, agreePatience)
	defer cancel()
	answer, err := r.stream.reads.RequestWithContext(asking, r.subjects+nodeSubject, fmt.Append(nil, r.node))
	switch {
	case err == nil && string(answer.Data) != own:
		return differing(string(answer.Data), own)
	case err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)): // in time nobody else has answered
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := r.stream.setMetadata(ctx, metaOptions, own); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
