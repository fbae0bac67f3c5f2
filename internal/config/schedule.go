package config

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// errSchedule says what a schedule is.
var errSchedule = errors.New("use the five fields of a cron expression, such as 30 3 * * *, with CRON_TZ=Europe/Berlin before it for another zone than UTC")

// ParseSchedule reads a cron expression of five fields, or a name such as @daily.
// Its times are UTC, so that all workers agree, unless it begins with CRON_TZ=ZONE.
func ParseSchedule(text string) (cron.Schedule, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "@every") {
		return nil, errSchedule // each worker would begin to count when it starts
	}
	if !strings.HasPrefix(text, "CRON_TZ=") {
		text = "CRON_TZ=UTC " + text
	}
	if len(strings.Fields(text)) < 2 {
		return nil, errSchedule // the parser takes a lone zone amiss
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil || schedule.Next(time.Now()).IsZero() { // such as 31 February
		return nil, errSchedule
	}
	return schedule, nil
}

// schedule reads a cron expression; empty: not given, or wrong and reported.
func (s *settings) schedule(name string) string {
	text := s.text(name)
	if text == "" {
		return ""
	}
	if _, err := ParseSchedule(text); err != nil {
		s.wrong(name, text, "%v", err)
		return ""
	}
	return text
}
