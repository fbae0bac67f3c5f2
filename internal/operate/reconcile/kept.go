package reconcile

import "spillway/internal/admin/comparisons"

// keptExamples is of how many contacts of a kind Redis keeps the ids.
const keptExamples = 20

// Kept returns the result as Redis keeps it for the dashboard.
func (r Result) Kept(site, by string, calls int64) comparisons.Comparison {
	kept := comparisons.Comparison{
		Site: site, By: by, Began: r.Began, Ended: r.Ended, Tags: r.Tags, Contacts: r.Contacts, Users: r.Users, Calls: calls,
		Differences: make(map[string]int, kinds), Unproven: r.Unproven,
		Outstanding: r.Outstanding, Parked: r.Parked, Moving: r.Moving, Refused: r.Refused, Examples: []comparisons.Example{},
	}
	for kind, n := range r.Differences {
		kept.Differences[string(kind)] = n
	}
	seen := map[Kind]int{}
	for _, d := range r.Examples {
		if seen[d.Kind]++; seen[d.Kind] <= keptExamples {
			kept.Examples = append(kept.Examples, comparisons.Example{Contact: d.Contact, Kind: string(d.Kind), Users: d.Users})
		}
	}
	return kept
}
