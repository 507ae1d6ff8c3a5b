package topic

type command struct {
	kind         commandKind
	sub          *Subscriber
	subscription *subscription
	name         string
	read         *catchUp
	done         chan struct{} // closed when the command has taken effect
}

type commandKind uint8

const (
	cmdJoin commandKind = iota
	cmdSubscribe
	cmdUnsubscribe
	cmdWritable
	cmdRead
	cmdClose
	cmdDrain
)

func (s *shard) post(c command) {
	s.mu.Lock()
	s.inbox = append(s.inbox, c)
	s.mu.Unlock()
	s.rouse()
}

// obey carries out the commands that have come in.
func (s *shard) obey() {
	s.mu.Lock()
	s.inbox, s.obeying = s.obeying[:0], s.inbox
	s.mu.Unlock()
	for _, c := range s.obeying {
		switch c.kind {
		case cmdJoin:
			s.join(c.sub)
		case cmdSubscribe:
			s.subscribe(c.subscription)
		case cmdUnsubscribe:
			s.hurry(c.sub)
			s.remove(c.sub, c.name)
			c.sub.own()
			c.sub.awaiting = append(c.sub.awaiting, c.done)
			switch c.sub.state {
			case live:
				s.settle(c.sub)
			case finished:
				c.sub.answer()
			}
		case cmdWritable:
			switch c.sub.state {
			case sending:
				s.settle(c.sub)
			case reading: // the sink was faster than the worker's result
				c.sub.written = true
			}
		case cmdRead:
			s.finishRead(c.read)
		case cmdClose:
			c.sub.leaving, c.sub.closed = true, c.done
			if c.sub.state != reading { // else when the worker is done
				s.leave(c.sub)
			}
		case cmdDrain:
			s.drain()
		}
	}
	clear(s.obeying)
}
