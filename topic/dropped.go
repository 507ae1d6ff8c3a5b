package topic

// dropped is what a subscription was not given because of SlowDrop.
type dropped struct {
	to   uint64 // the newest entry; 0 if there is none
	told uint64 // the subscriber knows of those up to here
	from Cursor // what it does not know of lies after here; the zero Cursor stands for the subscription's
}

// untold reports whether there is something to tell.
func (d *dropped) untold() bool { return d.to > d.told }

// tell is called when the subscriber knows.
func (d *dropped) tell() { d.told, d.from = d.to, Cursor{} }

// read takes what became of it by a read up to end, which began with was, and
// has given what came since. If that was told of what it did not give, was.from
// is zero.
func (d *dropped) read(was dropped, end ID) {
	d.told, d.from = was.told, was.from
	if d.from.Epoch == 0 && d.to <= end.Seq {
		d.told = d.to
	}
}

// tellDropped tells a subscriber that lacks nothing else what was dropped: it
// goes on with the present.
func (s *shard) tellDropped(sub *Subscriber) {
	var gaps [][]byte
	for _, sn := range sub.subscriptions {
		if sn.dropped == nil || !sn.dropped.untold() {
			continue
		}
		if sub.opts.EndAtGap {
			s.give(sub, Batch{End: &GapError{}})
			return
		}
		from := sn.dropped.from
		if from.Epoch == 0 {
			from = sn.cursor
		}
		at := Cursor{ID: s.end}
		if sn.cursor.Seq > at.Seq {
			at = sn.cursor
		}
		sn.dropped = nil
		s.counts.Gaps++
		b, err := encodeSignal(sub.opts.Form, gapSignal(Gap{Cursor: at}, from.String(), sn.called()))
		if err != nil {
			s.give(sub, Batch{End: err})
			return
		}
		if len(b) > 0 {
			gaps = append(gaps, b)
		}
	}
	sub.drops = false
	s.fix(sub)
	if len(gaps) > 0 {
		s.give(sub, Batch{Chunks: gaps})
	}
}

// called is the subscription's name as a gap says it.
func (s *subscription) called() string {
	if s.opts.Named {
		return s.name
	}
	return ""
}

// droppedOf is what a subscription had dropped when the read began, and what is
// known of it now.
func (c *catchUp) droppedOf(i int) dropped {
	if c.dropped == nil {
		return dropped{}
	}
	return c.dropped[i]
}

// drop removes from what was read what no subscription is to be given, and
// returns the gaps of those who do not know. A gap waits for the page that says
// where it ends, unless another subscription is given what lies behind: whoever
// resumes all of them from there has to know of it.
func (c *catchUp) drop(entries []ruled, more bool) (left []ruled, gaps []Gap) {
	most := uint64(0)
	for _, d := range c.dropped {
		most = max(most, d.to)
	}
	if most == 0 {
		return entries, nil
	}
	for _, e := range entries {
		keep := e.rule.Slow != SlowDrop || e.IsEnd() || e.ID.Seq > most
		for i := 0; i < len(c.interests) && !keep; i++ {
			keep = e.ID.Seq > c.dropped[i].to && c.wants(i, e)
		}
		if keep {
			left = append(left, e)
		}
	}
	for i := range c.dropped {
		d := &c.dropped[i]
		if !d.untold() {
			continue
		}
		gap := Gap{Interest: i}
		for _, e := range left {
			if c.wants(i, e) {
				gap.Oldest = e.ID
				gap.Cursor = c.interests[i].After.Advance(ID{Epoch: e.ID.Epoch, Seq: e.ID.Seq - 1})
				break
			}
		}
		if gap.Oldest.Seq == 0 {
			switch {
			case !more:
				gap.Cursor = Cursor{ID: c.end}
			case len(left) > 0 && left[len(left)-1].ID.Seq > d.from.Seq:
				gap.Cursor = c.interests[i].After.Advance(c.end)
			default:
				continue
			}
		}
		gaps = append(gaps, gap)
	}
	return left, gaps
}
