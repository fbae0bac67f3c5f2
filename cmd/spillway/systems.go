package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/syncer"
	"spillway/internal/vault"
)

// operatorsCRM returns a client of the CRM for a command; observe is told of
// every call, nil: nobody is.
func operatorsCRM(rdb redis.UniversalClient, settings config.Config, observe func(pulse.Call)) (*pulse.Client, error) {
	if settings.Mode == config.Relay {
		return nil, usageError("in mode relay Spillway calls neither the CRM nor the connector, so it cannot list or compare contacts; `spillway resync --file` syncs a list of ids that the CRM exported")
	}
	if settings.CRM.URL == "" || settings.CRM.Token == "" && !settings.CRM.OAuth() {
		return nil, &config.Invalid{Problems: []string{"SPILLWAY_CRM_URL and SPILLWAY_CRM_TOKEN (or the settings of OAuth) are missing: tagged contacts are listed by the CRM; `spillway env` prints all settings"}}
	}
	var sealed *vault.Vault
	if len(settings.SecretKey) > 0 {
		var err error
		if sealed, err = vault.New(rdb, settings.SecretKey, assembly.VaultPrefix); err != nil {
			return nil, err
		}
	}
	crm, _, err := assembly.CRM(assembly.CRMOptions{Settings: settings.CRM, Redis: rdb, Vault: sealed, Roots: settings.Roots, Observe: observe})
	return crm, err
}

// operatorsFields returns what compares fields of contacts with the site's, and
// ends it.
func operatorsFields(settings config.Config, crm *pulse.Client) (fields *syncer.Comparer, end func(), err error) {
	client, err := site.New(site.Options{
		URL: settings.Site.WithServer(settings.Site.URL), User: settings.Site.User, AppPassword: settings.Site.AppPassword, Roots: settings.Roots,
		RolesAllowed: settings.RolesAllowed, DefaultRole: settings.DefaultRole, LoginFormat: settings.Login, Observing: true,
	})
	if err != nil {
		return nil, nil, err
	}
	return syncer.NewComparer(crm, client, syncer.Options{Fields: settings.Fields}), func() { _ = client.Close(context.Background()) }, nil
}

// operatorsSite returns a client of the site for a command, which closes it.
func operatorsSite(settings config.Config) (*site.Client, error) {
	if settings.Site.URL == "" || settings.Site.User == "" || settings.Site.AppPassword == "" {
		return nil, &config.Invalid{Problems: []string{"SPILLWAY_SITE_URL, SPILLWAY_SITE_USER and SPILLWAY_SITE_APP_PASSWORD are missing: the site tells what it stores; `spillway env` prints all settings"}}
	}
	return site.New(site.Options{
		URL: settings.Site.WithServer(settings.Site.URL), User: settings.Site.User, AppPassword: settings.Site.AppPassword, Roots: settings.Roots,
	})
}
