package poller

import "time"

const (
	defaultWriteTimeout = 30 * time.Second
	defaultCloseTimeout = 5 * time.Second
)

func (l *Limits) writeTimeout() time.Duration {
	if l == nil || l.WriteTimeout == 0 {
		return defaultWriteTimeout
	}
	return max(l.WriteTimeout, 0)
}

func (l *Limits) closeTimeout() time.Duration {
	if l == nil || l.CloseTimeout <= 0 {
		return defaultCloseTimeout
	}
	return l.CloseTimeout
}
