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

// sortEvents gives events from a map an order that repeats.
func sortEvents(events []event) {
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.name, b.name) })
}
