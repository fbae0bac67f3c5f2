package torture

import (
	"cmp"
	"slices"
)

func names(processes []*process) []string {
	list := make([]string, len(processes))
	for i, p := range processes {
		list[i] = p.name
	}
	return list
}

// sortEvents puts events from a map into an order that is the same in each run.
func sortEvents(events []event) {
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.name, b.name) })
}
