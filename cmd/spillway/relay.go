package main

import (
	"spillway/internal/config"
	"spillway/internal/relay"
	"spillway/internal/webhook"
)

type relayCommand struct {
	config.Flags
	siteFlag
	envFlag
	jsonFlag
}

// relayValue is what the requests of one site carry.
type relayValue struct {
	Site   string `json:"site"`
	Header string `json:"header"`
	Value  string `json:"value"`
}

// Run is called by kong.
func (r *relayCommand) Run(c *console) error {
	all, err := c.settings(r.envFlag, r.Flags)
	if err != nil {
		return err
	}
	if all, err = r.some(all); err != nil {
		return err
	}
	values := []relayValue{}
	for _, site := range all {
		if site.Mode == config.Relay && len(site.AccessKeys) > 0 {
			values = append(values, relayValue{site.Name, webhook.RelayHeader, relay.Proof(site.AccessKeys[0])})
		}
	}
	if r.JSON {
		return c.json(map[string]any{"relays": values})
	}
	if len(values) == 0 {
		return usageError("no site is in mode relay: set SPILLWAY_MODE=relay, and WP Fusion's own key first in SPILLWAY_ACCESS_KEYS")
	}
	for _, v := range values {
		c.say("# Site %s. Keep these lines to yourself: a request that carries the value passes Spillway by.\n", v.Site)
		c.say("# nginx, in /etc/nginx/spillway-relay.map:\n%q 1;\n", v.Value)
		c.say("# Apache, in spillway.conf; several sites: VALUE|VALUE\nDefine SpillwayRelay %s\n", v.Value)
		c.say("# .htaccess, above the condition that is there:\nRewriteCond \"%%{HTTP:%s}\" \"!=%s\"\n", v.Header, v.Value)
	}
	return nil
}
