package topic_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
)

// Who does not look at chunks gets the events of a batch in one, shared by all,
// live and from the log, unless they are large.
func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, &topic.HubOptions{Shards: 1, Ping: -1})
		join := topic.SubscribeOptions{Form: script{}, Join: true}
		var sinks [3]keeper
		for i := range sinks {
			opts := join
			opts.Join = i < 2
			defer hub.Subscribe(&sinks[i], opts, selection(t, hub.Now(), "a")).Close()
		}
		synctest.Wait()
		wantChunks := func(k *keeper, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := k.texts(); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		drafts := func(data ...string) (list []topic.Draft) {
			for _, d := range data {
				list = append(list, topic.Draft{Data: []byte(d)})
			}
			return list
		}
		send := func(data ...string) {
			t.Helper()
			for i := range sinks {
				sinks[i].chunks = nil
			}
			if _, err := hub.Publish(t.Context(), "a", drafts(data...), topic.Key{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		send("1", "2", "3")
		wantChunks(&sinks[0], "a=1a=2a=3")
		wantChunks(&sinks[2], "a=1", "a=2", "a=3")
		if &sinks[0].chunks[0][0] != &sinks[1].chunks[0][0] {
			t.Error("the joined chunk is not shared")
		}
		send("4")
		wantChunks(&sinks[0], "a=4")
		large := strings.Repeat("x", 2<<10)
		send(large, "5")
		wantChunks(&sinks[0], "a="+large, "a=5")

		late := &keeper{}
		defer hub.Subscribe(late, join, selection(t, earliest(t, hub, "a"), "a")).Close()
		wantChunks(late, "a=1a=2a=3a=4a="+large+"a=5")
	})
}

// keeper is a sink that keeps the chunks.
type keeper struct{ chunks [][]byte }

func (k *keeper) Send(b topic.Batch) bool {
	k.chunks = append(k.chunks, slices.Clone(b.Chunks)...)
	return true
}

func (k *keeper) texts() (list []string) {
	for _, c := range k.chunks {
		list = append(list, string(bytes.Clone(c)))
	}
	return list
}
