package torture

import (
	"fmt"
	"strings"
)

// guards are what the suite is shown to miss when it is gone.
var guards = []Mutation{
	{
		Name: "gen", Why: "a webhook that arrives during a pass causes another pass",
		Cuts: []Cut{{
			File: "internal/pending/claim.go",
			Old:  "if rec[3] == ARGV[4] then\n  redis.call('DEL', KEYS[1])",
			New:  "if true then\n  redis.call('DEL', KEYS[1])",
		}},
	},
	{
		Name: "epoch", Why: "a wake-up that was replaced finds itself stale",
		Cuts: []Cut{{
			File: "internal/pending/claim.go",
			Old:  "if rec[1] ~= ARGV[2] or rec[10] then return {'stale'} end",
			New:  "if rec[10] then return {'stale'} end",
		}},
	},
	{
		Name: "lock", Why: "a contact is claimed by one pass at a time",
		Cuts: []Cut{
			{
				File: "internal/pending/claim.go",
				Old:  "if rec[2] and tonumber(rec[2]) > now then return {'busy', rec[2] - now} end",
				New:  "",
			},
		},
	},
}

// Guards are the names of the guards that can be taken out.
func Guards() []string {
	var names []string
	for _, guard := range guards {
		names = append(names, guard.Name)
	}
	return names
}

// Guard returns the mutation that takes a guard out; nil for no name.
func Guard(name string) (*Mutation, error) {
	if name == "" {
		return nil, nil
	}
	for _, guard := range guards {
		if guard.Name == name {
			return &guard, nil
		}
	}
	return nil, fmt.Errorf("unknown guard %q, use one of %s", name, strings.Join(Guards(), ", "))
}
