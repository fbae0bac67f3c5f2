package sandbox

import (
	"math"
	"slices"
	"time"
)

// sum adds up what the connections saw.
func sum(tallies []tally, took time.Duration) BurstResult {
	result := BurstResult{Took: took}
	var times []time.Duration
	first := math.MaxInt
	for _, t := range tallies {
		result.Accepted += t.accepted
		result.Coalesced += t.coalesced
		result.Refused += t.refused
		result.Failed += t.failed
		times = append(times, t.times...)
		if t.problem != "" && t.problemAt < first {
			result.Problem, first = t.problem, t.problemAt
		}
	}
	if seconds := took.Seconds(); seconds > 0 {
		result.PerSecond = float64(result.Accepted) / seconds
	}
	slices.Sort(times)
	result.P50, result.P99 = percentile(times, 50), percentile(times, 99)
	if len(times) > 0 {
		result.Max = times[len(times)-1]
	}
	return result
}

// percentile returns the smallest of the sorted times that p percent of all do
// not exceed.
func percentile(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	rank := (len(times)*p + 99) / 100
	return times[max(rank, 1)-1]
}
