package history

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	// sharesKey is a hash of hours since 1970 → the least share of memory that
	// was used in that hour.
	sharesKey = "spw:history:shares"
	hoursKept = 8 * 24
	day       = 24
)

// note remembers the least share of the hour. What bursts use for minutes does
// not count: what stays does. Errors do not matter, there are other looks.
func (k *Keeper) note(ctx context.Context, share float64) {
	ctx, cancel := context.WithTimeout(ctx, keeperTimeout)
	defer cancel()
	hour := time.Now().Unix() / 3600
	field := strconv.FormatInt(hour, 10)
	kept, err := k.rdb.HGet(ctx, sharesKey, field).Float64()
	if err == nil && kept <= share {
		return
	}
	if k.rdb.HSet(ctx, sharesKey, field, strconv.FormatFloat(share, 'f', 4, 64)).Err() == nil && err != nil {
		k.rdb.HDel(ctx, sharesKey, strconv.FormatInt(hour-hoursKept, 10))
	}
}

// Filling is how Redis's memory fills up.
type Filling struct {
	// Share of the memory that is used now, from 0 to 1.
	Share float64
	// PerDay is the growth of the share in the last day; negative: it fell.
	// Known says whether there is a day to compare with.
	PerDay float64
	Known  bool
}

// FullIn returns how many days are left before webhooks are refused; zero: it
// does not fill up, or that is not known yet.
func (f Filling) FullIn() float64 {
	const noise = 0.001 // of the memory in a day: years are left
	if !f.Known || f.PerDay < noise {
		return 0
	}
	return max((refuseAbove-f.Share)/f.PerDay, 0.1)
}

// Filling reads how full Redis is and was. A cluster's fullest master counts.
func (k *Keeper) Filling(ctx context.Context) (Filling, error) {
	share, err := k.look(ctx)
	if err != nil {
		return Filling{}, fmt.Errorf("reading how full Redis is: %w", err)
	}
	hours, err := k.rdb.HGetAll(ctx, sharesKey).Result()
	if err != nil {
		return Filling{}, fmt.Errorf("reading how full Redis was: %w", err)
	}
	now := time.Now().Unix() / 3600
	least := func(from, to int64) float64 {
		found := math.Inf(1)
		for hour := from; hour < to; hour++ {
			if value, err := strconv.ParseFloat(hours[strconv.FormatInt(hour, 10)], 64); err == nil {
				found = min(found, value)
			}
		}
		return found
	}
	lately, before := least(now-day+1, now+1), least(now-2*day+1, now-day+1)
	f := Filling{Share: share, Known: !math.IsInf(lately, 0) && !math.IsInf(before, 0)}
	if f.Known {
		f.PerDay = lately - before
	}
	return f, nil
}
