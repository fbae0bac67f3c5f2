package torture

import (
	"fmt"
	"strings"
)

// guards are the pieces of code whose absence the suite must notice.
var guards = []Mutation{
	{
		Name: "gen", Why: "a webhook that arrives during a pass causes another pass",
		Cuts: []Cut{{
			File: "internal/pending/finish.go",
			Old:  "if rec[3] == ARGV[8] then\n  redis.call('DEL', KEYS[1])",
			New:  "if true then\n  redis.call('DEL', KEYS[1])",
		}},
	},
	{
		Name: "epoch", Why: "a wake-up that was replaced finds itself stale",
		Cuts: []Cut{{
			File: "internal/pending/claim.go",
			Old:  "if rec[1] ~= ARGV[2] or rec[2] then return {'stale'} end",
			New:  "if rec[2] then return {'stale'} end",
		}},
	},
	{
		Name: "lock", Why: "no pass begins before another one over the contact has had its time",
		Cuts: []Cut{
			{
				File: "internal/pending/pending.go",
				Old:  "Lock = 45 * time.Second",
				New:  "Lock = 100 * time.Millisecond",
			},
			{ // the sweep would leave a living pass alone for another reason
				File: "internal/pending/sweep.go",
				Old:  "return not lease or tonumber(lease) <= tonumber(time[1])",
				New:  "return true",
			},
		},
	},
	{
		Name: "password", Why: "a repeated creation uses the password of the first try",
		Cuts: []Cut{{
			File: "internal/vault/once.go",
			Old:  "if entry and entry ~= ARGV[3] then",
			New:  "if false then",
		}},
	},
	{
		Name: "fence", Why: "the site does not store what an older pass sends late",
		Cuts: []Cut{{
			File: "internal/worker/pass.go",
			Old:  "claim.Intent, claim.AsOf)",
			New:  "claim.Intent, 0)",
		}},
	},
	{
		Name: "answer", Why: "a waiting sender hears of no pass that began before its webhook",
		Cuts: []Cut{{
			File: "internal/pending/endings.go",
			Old:  "end.life == w.awaited.life && end.gen >= w.awaited.gen",
			New:  "end.life == w.awaited.life",
		}},
	},
	{
		Name: "admission", Why: "no pass begins while the CRM holds everybody back",
		Cuts: []Cut{{
			File: "internal/throttle/gate.go",
			Old:  "if g.budget != nil {",
			New:  "if false {",
		}},
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
