package progress

import (
	"fmt"
	"math"
	"time"
)

const (
	// window is the time over which the rate is taken: long enough to be
	// steady, short enough to follow.
	window = 10 * time.Second
	// settling is how long a rate must have been seen before the time left is
	// computed from it.
	settling = time.Second
)

// meter counts work and computes its pace. Work done before it began does not
// count towards the pace.
type meter struct {
	began       time.Time
	done, total int64
	samples     []sample // of the last window, the oldest first
}

type sample struct {
	at   time.Time
	done int64
}

func newMeter(now time.Time, done, total int64) meter {
	return meter{began: now, done: done, total: total, samples: []sample{{now, done}}}
}

func (m *meter) set(now time.Time, done int64) {
	m.done = done
	const step = window / 20
	if now.Sub(m.samples[len(m.samples)-1].at) < step {
		return
	}
	m.samples = append(m.samples, sample{now, done})
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= window {
		m.samples = m.samples[1:]
	}
}

// perSecond returns the rate at present; known is false at the very beginning.
func (m *meter) perSecond(now time.Time) (rate float64, known bool) {
	took := now.Sub(m.samples[0].at)
	if took < settling {
		return 0, false
	}
	return float64(m.done-m.samples[0].done) / took.Seconds(), true
}

func (m *meter) tenths() int64 {
	if m.total <= 0 {
		return 0
	}
	return m.done * 10 / m.total
}

func (m *meter) text(now time.Time) string {
	text := fmt.Sprintf("%d / %d", m.done, m.total)
	if m.total <= 0 {
		text = fmt.Sprint(m.done)
	}
	if m.total > 0 && m.done >= m.total {
		return text + "  in " + short(m.samples[len(m.samples)-1].at.Sub(m.began))
	}
	rate, known := m.perSecond(now)
	if !known {
		return text
	}
	text += fmt.Sprintf("  %s/s", figure(rate))
	if m.total > 0 && rate > 0 {
		left := time.Duration(math.Min(float64(m.total-m.done)/rate, 1e6) * float64(time.Second))
		text += "  " + short(left) + " left"
	}
	return text
}

func figure(rate float64) string {
	if rate >= 10 {
		return fmt.Sprintf("%.0f", rate)
	}
	return fmt.Sprintf("%.1f", rate)
}

// short writes a duration as 5s, 2m10s or 1h05m.
func short(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}
