package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/contact"
)

// key32 is 32 bytes in base64.
const key32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// complete returns the settings that a whole installation needs, changed by
// pairs of NAME=value; NAME= removes one.
func complete(pairs ...string) []string {
	environ := []string{
		"PATH=/bin",
		"SPILLWAY_ACCESS_KEYS=abcdefgh12",
		"SPILLWAY_CRM_URL=https://app.example.thepulsespot.com",
		"SPILLWAY_CRM_TOKEN=crm-token",
		"SPILLWAY_SITE_URL=https://www.example.com",
		"SPILLWAY_SITE_USER=spillway",
		"SPILLWAY_SITE_APP_PASSWORD=abcd efgh ijkl mnop qrst uvwx",
	}
	// The first of two variables counts.
	return append(pairs, environ...)
}

func problems(t *testing.T, err error) []string {
	t.Helper()
	var invalid *config.Invalid
	require.ErrorAs(t, err, &invalid)
	return invalid.Problems
}

func TestDefaultsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.All, nil, complete())
	require.NoError(t, err)
	want := config.Config{
		RedisURL:      "redis://127.0.0.1:6379/0",
		Queues:        1,
		AnswerWaiters: 200,
		OfSite: config.OfSite{
			Name: "default", AnswerWait: 4 * time.Second,
			AccessKeys: []string{"abcdefgh12"},
			CRM:        config.CRM{URL: "https://app.example.thepulsespot.com", Token: "crm-token", Rate: 40, Concurrency: 16},
			Site: config.Site{
				URL: "https://www.example.com", User: "spillway", AppPassword: "abcd efgh ijkl mnop qrst uvwx",
				Batch: 50, Concurrency: 1,
			},
			Fields: contact.FieldMap{
				{WordPress: "user_email", CRM: "email", Type: contact.Text},
				{WordPress: "first_name", CRM: "first_name", Type: contact.Text},
				{WordPress: "last_name", CRM: "last_name", Type: contact.Text},
			},
			RolesAllowed: []string{"subscriber", "customer"}, CreationLimit: 1000, Login: "email", Mode: config.Connector,
		},
		IngestAddr: ":8080", AdminAddr: "127.0.0.1:8081", WorkerAddr: "127.0.0.1:8082",
		WorkerConcurrency: 64,
		LogLevel:          zerolog.InfoLevel, LogFormat: "json",
	}
	require.Equal(t, fields(want), fields(c))
	require.False(t, c.Unconfigured())
	require.False(t, c.CRM.OAuth())
}

// plain lets a Config be compared member by member: Config itself prints
// nothing that a failed comparison could show.
type plain config.Config

func fields(c config.Config) plain { return plain(c) }

func TestEverySettingIsRead(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.All, nil, []string{
		"SPILLWAY_REDIS_URL=rediss://user:pw@redis.example.com:6380/2",
		"SPILLWAY_ACCESS_KEYS=abcdefgh12, zyxwvuts98,abcdefgh12",
		"SPILLWAY_CRM_URL=https://app.example.com/",
		"SPILLWAY_CRM_CLIENT_ID=id", "SPILLWAY_CRM_CLIENT_SECRET=secret", "SPILLWAY_CRM_REFRESH_TOKEN=refresh",
		"SPILLWAY_CRM_TOKEN_URL=https://portal.example.com/oauth/token",
		"SPILLWAY_CRM_RATE=2.5", "SPILLWAY_CRM_CONCURRENCY=3",
		"SPILLWAY_SITE_URL=http://localhost:8088/wp/", "SPILLWAY_SITE_USER=u", "SPILLWAY_SITE_APP_PASSWORD=p",
		"SPILLWAY_SITE_BATCH=100", "SPILLWAY_SITE_CONCURRENCY=2", "SPILLWAY_SITE_PROBE_URL=http://www.example.com/shop/?p=1",
		"SPILLWAY_FIELDS=user_email=email,interests=topics:multiselect",
		"SPILLWAY_RETURN_PASSWORD_FIELD=wp_password", "SPILLWAY_RETURN_FIELDS=user_login=wp_login, user_id=wp_id",
		"SPILLWAY_CREATED_TAG= Account created ", "SPILLWAY_ROLES_ALLOWED=customer,student", "SPILLWAY_DEFAULT_ROLE=student", "SPILLWAY_CREATION_LIMIT=50",
		"SPILLWAY_MODE=Relay", "SPILLWAY_LOGIN=FLName", "SPILLWAY_NOTIFY=always", "SPILLWAY_DELETED_CONTACTS=clear_tags",
		"SPILLWAY_SECRET_KEY=" + key32, "SPILLWAY_SEARCH_KEY=" + key32, "SPILLWAY_MONITOR_WRITABLE=true",
		"SPILLWAY_PUBLIC_URL=https://hooks.example.com/",
		"SPILLWAY_INGEST_ADDR=[::]:9000", "SPILLWAY_ADMIN_ADDR=:9001", "SPILLWAY_WORKER_ADDR=0.0.0.0:9002",
		"SPILLWAY_WORKER_CONCURRENCY=7", "SPILLWAY_QUEUES=4", "SPILLWAY_SETTLE=1500ms", "SPILLWAY_ADMIN_PASSWORD=let me in",
		"SPILLWAY_ANSWER_WAIT=2500ms", "SPILLWAY_ANSWER_WAITERS=20",
		"SPILLWAY_LOG_LEVEL=debug", "SPILLWAY_LOG_FORMAT=console",
	})
	require.NoError(t, err)
	counting := []byte{
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
	}
	require.Equal(t, plain{
		RedisURL: "rediss://user:pw@redis.example.com:6380/2", RedisGiven: true,
		Queues: 4, AnswerWaiters: 20,
		OfSite: config.OfSite{
			Name: "default", Mode: config.Relay, Settle: 1500 * time.Millisecond, AnswerWait: 2500 * time.Millisecond,
			AccessKeys: []string{"abcdefgh12", "zyxwvuts98"},
			CRM: config.CRM{
				URL: "https://app.example.com", ClientID: "id", ClientSecret: "secret", RefreshToken: "refresh",
				TokenURL: "https://portal.example.com/oauth/token", Rate: 2.5, Concurrency: 3,
			},
			Site: config.Site{
				URL: "http://localhost:8088/wp", User: "u", AppPassword: "p", Batch: 100, Concurrency: 2,
				ProbeURL: "http://www.example.com/shop/?p=1",
			},
			Fields: contact.FieldMap{
				{WordPress: "user_email", CRM: "email", Type: contact.Text},
				{WordPress: "interests", CRM: "topics", Type: contact.Multiselect},
			},
			ReturnPasswordField: "wp_password",
			ReturnFields:        map[string]string{"user_login": "wp_login", "user_id": "wp_id"},
			CreatedTag:          "Account created",
			RolesAllowed:        []string{"customer", "student"}, DefaultRole: "student", CreationLimit: 50,
			Login: "flname", NotifyAlways: true, ClearDeleted: true,
		},
		SecretKey: counting, SearchKey: counting, MonitorWritable: true,
		PublicURL:  "https://hooks.example.com",
		IngestAddr: "[::]:9000", AdminAddr: ":9001", WorkerAddr: "0.0.0.0:9002", WorkerConcurrency: 7,
		AdminPassword: "let me in", LogLevel: zerolog.DebugLevel, LogFormat: "console",
	}, fields(c))
	require.True(t, c.CRM.OAuth())
}

// A wrong setting is one line that names it, says what is wrong and what to do.
func TestWrongSettingsAreNamedWithTheirRemedy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		role    config.Role
		environ []string
		want    []string
	}{
		"unknown scheme":      {config.All, complete("SPILLWAY_SITE_URL=htp://x"), []string{`SPILLWAY_SITE_URL "htp://x": unknown scheme, use https://`}},
		"no scheme":           {config.All, complete("SPILLWAY_CRM_URL=app.example.com"), []string{`SPILLWAY_CRM_URL "app.example.com": unknown scheme, use https://`}},
		"no host":             {config.All, complete("SPILLWAY_SITE_URL=https://"), []string{`SPILLWAY_SITE_URL "https://": no host or a wrong port, write https://HOST or https://HOST:PORT`}},
		"not a URL":           {config.All, complete("SPILLWAY_SITE_URL=https://a b"), []string{`SPILLWAY_SITE_URL "https://a b": not a URL, write https://HOST`}},
		"port out of range":   {config.All, complete("SPILLWAY_SITE_URL=https://x:99999"), []string{`SPILLWAY_SITE_URL "https://x:99999": no host or a wrong port, write https://HOST or https://HOST:PORT`}},
		"plain http to site":  {config.All, complete("SPILLWAY_SITE_URL=http://www.example.com"), []string{`SPILLWAY_SITE_URL "http://www.example.com": the application password would travel in plain text, use https://`}},
		"plain http to CRM":   {config.All, complete("SPILLWAY_CRM_URL=http://app.example.com"), []string{`SPILLWAY_CRM_URL "http://app.example.com": the CRM's token would travel in plain text, use https://`}},
		"credentials in URL":  {config.All, complete("SPILLWAY_CRM_URL=https://me:s3cret@app.example.com"), []string{`SPILLWAY_CRM_URL: holds credentials, a query or a fragment, write scheme, host and path alone`}},
		"query in URL":        {config.All, complete("SPILLWAY_SITE_URL=https://x/?access_key=s3cret"), []string{`SPILLWAY_SITE_URL: holds credentials, a query or a fragment, write scheme, host and path alone`}},
		"API path copied":     {config.All, complete("SPILLWAY_CRM_URL=https://x/api/v1/"), []string{`SPILLWAY_CRM_URL "https://x/api/v1/": leave /api/v1 and what follows out, it is added by itself`}},
		"route copied":        {config.All, complete("SPILLWAY_SITE_URL=https://x/wp-json/spillway/v1"), []string{`SPILLWAY_SITE_URL "https://x/wp-json/spillway/v1": leave /wp-json and what follows out, it is added by itself`}},
		"quoted key":          {config.All, complete(`SPILLWAY_ACCESS_KEYS="s3cret-key"`), []string{`SPILLWAY_ACCESS_KEYS: stands between quotes, which would count as a part of it: take them away`}},
		"quoted user":         {config.All, complete(`SPILLWAY_SITE_USER='spillway'`), []string{`SPILLWAY_SITE_USER: stands between quotes, which would count as a part of it: take them away`}},
		"batch too large":     {config.All, complete("SPILLWAY_SITE_BATCH=101"), []string{`SPILLWAY_SITE_BATCH "101": use a whole number from 1 to 100`}},
		"no queue":            {config.Ingest, complete("SPILLWAY_QUEUES=0"), []string{`SPILLWAY_QUEUES "0": use a whole number from 1 to 256`}},
		"settle without unit": {config.All, complete("SPILLWAY_SETTLE=1"), []string{`SPILLWAY_SETTLE "1": use a time from 0 to 1m0s with its unit, such as 1s or 500ms`}},
		"settle too long":     {config.All, complete("SPILLWAY_SETTLE=2m"), []string{`SPILLWAY_SETTLE "2m": use a time from 0 to 1m0s with its unit, such as 1s or 500ms`}},
		"answer waits long":   {config.Ingest, complete("SPILLWAY_ANSWER_WAIT=31s"), []string{`SPILLWAY_ANSWER_WAIT "31s": use a time from 0 to 30s with its unit, such as 1s or 500ms`}},
		"answer's unit":       {config.Ingest, complete("SPILLWAY_ANSWER_WAIT=4"), []string{`SPILLWAY_ANSWER_WAIT "4": use a time from 0 to 30s with its unit, such as 1s or 500ms`}},
		"waiters below none":  {config.Ingest, complete("SPILLWAY_ANSWER_WAITERS=-1"), []string{`SPILLWAY_ANSWER_WAITERS "-1": use a whole number from 0 to 100000`}},
		"batch of nothing":    {config.All, complete("SPILLWAY_SITE_BATCH=0"), []string{`SPILLWAY_SITE_BATCH "0": use a whole number from 1 to 100`}},
		"not a number":        {config.All, complete("SPILLWAY_WORKER_CONCURRENCY=many"), []string{`SPILLWAY_WORKER_CONCURRENCY "many": use a whole number from 1 to 512`}},
		"rate is not finite":  {config.All, complete("SPILLWAY_CRM_RATE=NaN"), []string{`SPILLWAY_CRM_RATE "NaN": use a number from 0.1 to 10000`}},
		"rate of zero":        {config.All, complete("SPILLWAY_CRM_RATE=0"), []string{`SPILLWAY_CRM_RATE "0": use a number from 0.1 to 10000`}},
		"address":             {config.All, complete("SPILLWAY_INGEST_ADDR=8080"), []string{`SPILLWAY_INGEST_ADDR "8080": write HOST:PORT, or :PORT for all interfaces`}},
		"named port":          {config.All, complete("SPILLWAY_INGEST_ADDR=:http"), []string{`SPILLWAY_INGEST_ADDR ":http": write HOST:PORT, or :PORT for all interfaces`}},
		"same address":        {config.All, complete("SPILLWAY_WORKER_ADDR=127.0.0.1:8081"), []string{`SPILLWAY_WORKER_ADDR "127.0.0.1:8081": the same as SPILLWAY_ADMIN_ADDR, use another port`}},
		"open admin address":  {config.All, complete("SPILLWAY_ADMIN_ADDR=:8081"), []string{`SPILLWAY_ADMIN_ADDR ":8081": open to other machines without a password, set SPILLWAY_ADMIN_PASSWORD or listen on 127.0.0.1`}},
		"level":               {config.All, complete("SPILLWAY_LOG_LEVEL=loud"), []string{`SPILLWAY_LOG_LEVEL "loud": unknown level, use trace, debug, info, warn or error`}},
		"format":              {config.All, complete("SPILLWAY_LOG_FORMAT=xml"), []string{`SPILLWAY_LOG_FORMAT "xml": unknown format, use json or console`}},
		"short access key":    {config.All, complete("SPILLWAY_ACCESS_KEYS=abcdefgh12,s3cret"), []string{`SPILLWAY_ACCESS_KEYS: key 2 has fewer than 8 characters, use a longer one`}},
		"access key of words": {config.All, complete("SPILLWAY_ACCESS_KEYS=abcdefgh12 zyxwvuts98"), []string{`SPILLWAY_ACCESS_KEYS: key 1 holds a space, separate keys by commas`}},
		"no access key":       {config.All, complete("SPILLWAY_ACCESS_KEYS=,"), []string{`SPILLWAY_ACCESS_KEYS: holds no key, set it to the access key that the CRM's webhooks carry`}},
		"secret of two lines": {config.All, complete("SPILLWAY_CRM_TOKEN=s3cret\nX-Header: y"), []string{`SPILLWAY_CRM_TOKEN: holds a line break or a control character, write it on one line`}},
		"short secret key":    {config.All, complete("SPILLWAY_SECRET_KEY=czNjcmV0"), []string{`SPILLWAY_SECRET_KEY: not 32 bytes in base64, make one with: openssl rand -base64 32`}},
		"colon in user":       {config.All, complete("SPILLWAY_SITE_USER=a:b"), []string{`SPILLWAY_SITE_USER: holds a colon, which HTTP Basic authentication cannot carry, use a user name without one`}},
		"administrator":       {config.All, complete("SPILLWAY_ROLES_ALLOWED=customer,Administrator"), []string{`SPILLWAY_ROLES_ALLOWED: holds administrator, which no webhook may give, remove it`}},
		"default role":        {config.All, complete("SPILLWAY_DEFAULT_ROLE=editor"), []string{`SPILLWAY_DEFAULT_ROLE "editor": not in SPILLWAY_ROLES_ALLOWED, add it there or use one of: subscriber, customer`}},
		"login format":        {config.All, complete("SPILLWAY_LOGIN=initials"), []string{`SPILLWAY_LOGIN "initials": unknown, use email or flname or fnamenum`}},
		"notify":              {config.All, complete("SPILLWAY_NOTIFY=never"), []string{`SPILLWAY_NOTIFY "never": unknown, use asked or always`}},
		"deleted contacts":    {config.All, complete("SPILLWAY_DELETED_CONTACTS=delete"), []string{`SPILLWAY_DELETED_CONTACTS "delete": unknown, use keep or clear_tags`}},
		"no fields":           {config.All, complete("SPILLWAY_FIELDS=,"), []string{`SPILLWAY_FIELDS ",": maps nothing, write wordpress_key=crm_field`}},
		"field mapping, line by line": {config.All, complete("SPILLWAY_FIELDS=a=b,a=c,d=e:date"), []string{
			`SPILLWAY_FIELDS "a=c": the WordPress key a is mapped twice`,
			`SPILLWAY_FIELDS "d=e:date": unknown type "date", use text, multiselect or raw`,
		}},
		"return fields": {config.All, complete("SPILLWAY_RETURN_FIELDS=user_email=x,user_id=,user_login=a,user_login=b"), []string{
			`SPILLWAY_RETURN_FIELDS "user_email=x": only user_login and user_id are returned, write user_login=crm_field,user_id=crm_field`,
			`SPILLWAY_RETURN_FIELDS "user_id=": no CRM field, write user_id=crm_field`,
			`SPILLWAY_RETURN_FIELDS "user_login=b": user_login is returned twice, keep one`,
		}},
		"created tags": {config.All, complete("SPILLWAY_CREATED_TAG=24, 74"), []string{`SPILLWAY_CREATED_TAG "24, 74": a list of ids, keep one`}},
		"two returns into one field": {config.All, complete("SPILLWAY_RETURN_PASSWORD_FIELD=x", "SPILLWAY_RETURN_FIELDS=user_id=x", "SPILLWAY_SECRET_KEY="+key32), []string{
			`SPILLWAY_RETURN_FIELDS "user_id=x": the CRM field x already receives the password, use another`,
		}},
		"password without a key to seal it": {config.Worker, complete("SPILLWAY_RETURN_PASSWORD_FIELD=x"), []string{
			`SPILLWAY_SECRET_KEY is missing: it seals generated passwords and OAuth tokens in Redis; make one with: openssl rand -base64 32`,
		}},
		"token beside OAuth": {config.Worker, complete("SPILLWAY_CRM_CLIENT_ID=id"), []string{
			`SPILLWAY_CRM_TOKEN: set beside settings of OAuth, remove it or SPILLWAY_CRM_CLIENT_ID, SPILLWAY_CRM_CLIENT_SECRET and SPILLWAY_CRM_REFRESH_TOKEN`,
		}},
		"unknown setting":        {config.Ingest, complete("SPILLWAY_ACCES_KEYS=x"), []string{`SPILLWAY_ACCES_KEYS: unknown setting, did you mean SPILLWAY_ACCESS_KEYS?`}},
		"unknown setting's file": {config.Ingest, complete("SPILLWAY_CRM_TOKENS_FILE=x"), []string{`SPILLWAY_CRM_TOKENS_FILE: unknown setting, did you mean SPILLWAY_CRM_TOKEN_FILE?`}},
		"misspelt prefix":        {config.Ingest, complete("SPILWAY_SETTLE=1s", "spillway_mode=relay"), []string{`SPILWAY_SETTLE: unknown setting, did you mean SPILLWAY_SETTLE?`, `spillway_mode: unknown setting, did you mean SPILLWAY_MODE?`}},
		"a port of its own":      {config.Ingest, complete("SPILLWAY_REDIS_PORT=6380"), []string{`SPILLWAY_REDIS_PORT: unknown setting, did you mean SPILLWAY_REDIS_URL?`}},
		"unlike any setting":     {config.Ingest, complete("SPILLWAY_FAVOURITE_COLOUR=red"), []string{`SPILLWAY_FAVOURITE_COLOUR: unknown setting, remove it; --help and docs/settings.md list the settings`}},
		"redis scheme":           {config.Ingest, complete("SPILLWAY_REDIS_URL=http://:s3cret@x"), []string{`SPILLWAY_REDIS_URL: unknown scheme, use redis://, rediss://, redis-sentinel://, redis-cluster:// or unix://`}},
		"redis without host":     {config.Ingest, complete("SPILLWAY_REDIS_URL=redis://:s3cret@/0"), []string{`SPILLWAY_REDIS_URL: no host or a wrong port, write redis://HOST:PORT`}},
		"redis with wrong port":  {config.Ingest, complete("SPILLWAY_REDIS_URL=redis-cluster://a:1,b:x/0"), []string{`SPILLWAY_REDIS_URL: no host or a wrong port, write redis-cluster://HOST:PORT`}},
		"redis with two hosts":   {config.Ingest, complete("SPILLWAY_REDIS_URL=redis://a:1,b:2/0"), []string{`SPILLWAY_REDIS_URL: several hosts, use redis-sentinel:// or redis-cluster://`}},
		"sentinels of nothing":   {config.Ingest, complete("SPILLWAY_REDIS_URL=redis-sentinel://:s3cret@a,b/"), []string{`SPILLWAY_REDIS_URL: no name of a master, write redis-sentinel://HOST:PORT,HOST:PORT/NAME`}},
		"embedded for a part":    {config.Ingest, complete("SPILLWAY_REDIS_URL=embedded"), []string{`SPILLWAY_REDIS_URL: embedded works in one process only, and this one is not alone: use redis://HOST:PORT/0`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(test.role, nil, test.environ)
			require.Equal(t, test.want, problems(t, err))
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestAllMissingSettingsAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	missing := func(role config.Role, environ ...string) (names []string) {
		_, err := config.Load(role, nil, environ)
		for _, problem := range problems(t, err) {
			name, _, ok := strings.Cut(problem, " is missing: ")
			require.True(t, ok, problem)
			names = append(names, name)
		}
		return names
	}
	require.Equal(t, []string{"SPILLWAY_ACCESS_KEYS"}, missing(config.Ingest))
	require.Equal(t, []string{
		"SPILLWAY_CRM_URL", "SPILLWAY_CRM_TOKEN", "SPILLWAY_SITE_URL", "SPILLWAY_SITE_USER", "SPILLWAY_SITE_APP_PASSWORD",
	}, missing(config.Worker))
	require.Equal(t, []string{
		"SPILLWAY_ACCESS_KEYS", "SPILLWAY_CRM_URL", "SPILLWAY_CRM_TOKEN", "SPILLWAY_SITE_USER", "SPILLWAY_SITE_APP_PASSWORD",
	}, missing(config.All, "SPILLWAY_SITE_URL=https://www.example.com"))
	require.Equal(t, []string{"SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_CLIENT_SECRET", "SPILLWAY_SECRET_KEY"},
		missing(config.Worker, complete("SPILLWAY_CRM_REFRESH_TOKEN=x", "SPILLWAY_CRM_TOKEN=")...))
}

func TestModeRelayNeedsNeitherTheCRMNorTheConnector(t *testing.T) {
	t.Parallel()
	relay := []string{"SPILLWAY_MODE=relay", "SPILLWAY_ACCESS_KEYS=wpf-key-1,another-2", "SPILLWAY_SITE_URL=https://www.example.com", "SPILLWAY_RETURN_PASSWORD_FIELD=x"}
	for _, role := range []config.Role{config.Ingest, config.Worker, config.All} {
		c, err := config.Load(role, nil, relay)
		require.NoError(t, err)
		require.Equal(t, config.Relay, c.Mode)
		require.Equal(t, []string{"wpf-key-1", "another-2"}, c.AccessKeys)
	}
	_, err := config.Load(config.Worker, nil, []string{"SPILLWAY_MODE=relay", "SPILLWAY_SITE_URL=http://www.example.com"})
	problems := strings.Join(problems(t, err), "\n")
	require.Contains(t, problems, "SPILLWAY_ACCESS_KEYS is missing")
	require.Contains(t, problems, "the access key would travel in plain text")

	_, err = config.Load(config.All, nil, relay[:1])
	require.ErrorContains(t, err, "SPILLWAY_SITE_URL is missing", "it is no first run on stand-ins")

	c, err := config.Load(config.Worker, nil, complete("SPILLWAY_ACCESS_KEYS=wpf-key-1"))
	require.NoError(t, err)
	require.Empty(t, c.AccessKeys, "in other modes a worker has no use for them")
}

func TestFirstRunNeedsNoSettings(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.All, nil, []string{"SPILLWAY_LOG_FORMAT=console", "SPILLWAY_REDIS_URL=embedded"})
	require.NoError(t, err)
	require.True(t, c.Unconfigured())
	require.Equal(t, "embedded", c.RedisURL)
	require.True(t, c.RedisGiven)
	require.Equal(t, 64, c.WorkerConcurrency)
}

func TestAnswersWaitUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Ingest, nil, complete())
	require.NoError(t, err)
	require.Equal(t, 4*time.Second, c.AnswerWait)
	require.Equal(t, 200, c.AnswerWaiters)
	require.Contains(t, c.Settings(), config.Setting{Name: "SPILLWAY_ANSWER_WAIT", Value: "4s"})
	c, err = config.Load(config.Ingest, nil, complete("SPILLWAY_ANSWER_WAIT=0", "SPILLWAY_ANSWER_WAITERS=0"))
	require.NoError(t, err)
	require.Zero(t, c.AnswerWait)
	require.Zero(t, c.AnswerWaiters)
}

func TestAProgramReadsOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Ingest, nil, complete("SPILLWAY_SITE_BATCH=wrong", "SPILLWAY_SECRET_KEY_FILE=/nowhere"))
	require.NoError(t, err)
	// The addresses are for the dashboard's links.
	require.Equal(t, config.CRM{URL: "https://app.example.thepulsespot.com"}, c.CRM)
	require.Equal(t, config.Site{URL: "https://www.example.com"}, c.Site)

	c, err = config.Load(config.Worker, nil, complete("SPILLWAY_ADMIN_ADDR=:8081", "SPILLWAY_ACCESS_KEYS=short"))
	require.NoError(t, err)
	require.Empty(t, c.AccessKeys)
	require.Empty(t, c.AdminAddr)
	require.Equal(t, "127.0.0.1:8082", c.WorkerAddr)
}

func TestSitesWebServerMayHaveAPasswordOfItsOwn(t *testing.T) {
	t.Parallel()
	const address = "https://stage:s3cr%40t@www.example.com/blog/"
	for _, role := range []config.Role{config.Ingest, config.Worker} {
		settings, err := config.Load(role, nil, complete("SPILLWAY_SITE_URL="+address))
		require.NoError(t, err)
		require.Equal(t, "https://www.example.com/blog", settings.Site.URL, "what is shown has no password")
		require.Equal(t, "https://stage:s3cr%40t@www.example.com/blog", settings.Site.WithServer(settings.Site.URL))
		require.Equal(t, "https://cdn.example.com/", settings.Site.WithServer("https://cdn.example.com/"), "another server's")
		require.NotContains(t, settings.String(), "s3cr")
	}
	for _, wrong := range []string{"https://stage@www.example.com", "https://:s3cret@www.example.com", "http://stage:s3cret@www.example.com"} {
		_, err := config.Load(config.Worker, nil, complete("SPILLWAY_SITE_URL="+wrong))
		require.Error(t, err, wrong)
		require.NotContains(t, err.Error(), "s3cret")
	}
	_, err := config.Load(config.Worker, []string{"--site-url=" + address}, complete())
	require.Equal(t, []string{"--site-url: holds credentials, which other users of the machine could read in ps: set SPILLWAY_SITE_URL or SPILLWAY_SITE_URL_FILE"}, problems(t, err))
}

func TestAPlaceholderCannotStart(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Worker, nil, complete("SPILLWAY_CRM_URL=https://app.ACCOUNT.thepulsespot.com"))
	require.Equal(t, []string{`SPILLWAY_CRM_URL "https://app.ACCOUNT.thepulsespot.com": ACCOUNT stands for your account's name, write that`}, problems(t, err))
}

func TestEveryRedisSchemeIsAccepted(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://127.0.0.1:6379/0", "rediss://user:p%40ss@redis.example.com/1", "redis://[::1]:6379",
		"redis-sentinel://:pw@s1:26379,s2:26379,s3:26379/main/0", "redis-cluster://n1:6379,n2:6379", "embedded",
	} {
		c, err := config.Load(config.All, nil, complete("SPILLWAY_REDIS_URL="+url))
		require.NoError(t, err, url)
		require.Equal(t, url, c.RedisURL)
	}
}

func TestSecretKeyMayBeWrittenInEitherAlphabet(t *testing.T) {
	t.Parallel()
	want := strings.Repeat("\xfb\xff", 16)
	for _, key := range []string{
		"+//7//v/+//7//v/+//7//v/+//7//v/+//7//v/+/8=", "-__7__v_-__7__v_-__7__v_-__7__v_-__7__v_-_8",
	} {
		c, err := config.Load(config.Worker, nil, complete("SPILLWAY_SECRET_KEY="+key))
		require.NoError(t, err)
		require.Equal(t, want, string(c.SecretKey))
	}
}

func TestAPrintedConfigShowsNoSecret(t *testing.T) {
	t.Parallel()
	environ := []string{
		"SPILLWAY_REDIS_URL=redis-sentinel://user:s3cret@redis.example.com:26379/main?sentinel_password=s3cret",
		"SPILLWAY_ACCESS_KEYS=s3cret-key", "SPILLWAY_CRM_URL=https://app.example.com",
		"SPILLWAY_CRM_CLIENT_ID=s3cret", "SPILLWAY_CRM_CLIENT_SECRET=s3cret", "SPILLWAY_CRM_REFRESH_TOKEN=s3cret",
		"SPILLWAY_SITE_URL=https://s3cret:s3cret@www.example.com", "SPILLWAY_SITE_USER=s3cret", "SPILLWAY_SITE_APP_PASSWORD=s3cret",
		"SPILLWAY_SITE_PROBE_URL=https://www.example.com/shop/?preview=s3cret",
		"SPILLWAY_SECRET_KEY=" + key32, "SPILLWAY_SEARCH_KEY=" + key32, "SPILLWAY_ADMIN_PASSWORD=s3cret",
		"SPILLWAY_FIELDS=user_email=email", "SPILLWAY_RETURN_FIELDS=user_id=wp_id,user_login=wp_login",
	}
	c, err := config.Load(config.All, nil, environ)
	require.NoError(t, err)

	var logged strings.Builder
	log := zerolog.New(&logged)
	log.Info().EmbedObject(c).Send()
	log.Info().Interface("config", c).Interface("crm", c.CRM).Interface("site", &c.Site).Send()
	asJSON, err := json.Marshal(&c)
	require.NoError(t, err)
	for _, text := range []string{
		logged.String(), string(asJSON), c.String(),
		fmt.Sprintf("%v %+v %#v %s", c, c, c, &c),
		fmt.Sprintf("%v %+v %#v", c.CRM, &c.CRM, c.CRM), fmt.Sprintf("%v %+v %#v", c.Site, &c.Site, c.Site),
	} {
		require.NotContains(t, text, "s3cret")
		require.Contains(t, text, "(set)")
	}
	require.Contains(t, c.String(), "SPILLWAY_REDIS_URL=redis-sentinel://redis.example.com:26379/main ")
	require.Contains(t, c.String(), "SPILLWAY_RETURN_FIELDS=user_id=wp_id,user_login=wp_login")
	require.Contains(t, c.String(), "SPILLWAY_SITE_PROBE_URL=https://www.example.com/shop/?…")
	require.Contains(t, logged.String(), `"SPILLWAY_SITE_URL":"https://(set)@www.example.com"`)
}
