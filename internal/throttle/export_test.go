package throttle

import "time"

// ClimbWithin shortens the climb, so that a test sees several.
func (b *Budget) ClimbWithin(d time.Duration) { b.climb = d }
