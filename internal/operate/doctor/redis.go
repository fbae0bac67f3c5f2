package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/pending/history"
	"spillway/internal/redisconn"
)

// leastRedis is the oldest Redis that is supported: scripts here read the time
// and then write, and the commands of 6.2 are taken for granted.
const leastRedis = "6.2"

const (
	pings = 50
	// slowPing is where Redis begins to be what a webhook waits for.
	slowPing = 10 * time.Millisecond
)

// redis examines the server, or each master of a cluster.
func (e *examination) redis(ctx context.Context) {
	const check = "Redis"
	if e.settings.RedisURL == "embedded" {
		e.skip(check, "SPILLWAY_REDIS_URL is embedded: that Redis is inside `spillway run`, and keeps nothing")
		return
	}
	where := e.shown("SPILLWAY_REDIS_URL")
	client, err := redisconn.Open(e.settings.RedisURL, redisconn.ForIngest, redisconn.WithRoots(e.settings.Roots))
	if err != nil {
		e.fail(check, "mend SPILLWAY_REDIS_URL", "%v", err)
		return
	}
	took, err := ping(ctx, client)
	if err != nil {
		_ = client.Close()
		e.fail(check, redisRemedy(err), "%s does not answer: %v", where, err)
		return
	}
	e.rdb = client
	e.ok(check, "%s answers", where)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	if text := fmt.Sprintf("a PING takes %s (median), %s (99th percentile)", millis(p50), millis(p99)); p99 > slowPing {
		e.warn("Redis latency", "each webhook waits for Redis once or twice: put Redis close to ingest, or look for what keeps it busy (redis-cli --latency, SLOWLOG GET)", "%s", text)
	} else {
		e.ok("Redis latency", "%s", text)
	}
	nodes, err := serversOf(ctx, client)
	if err != nil {
		e.skip("Redis settings", "INFO is not permitted or not known there (%v): make sure yourself that it keeps an append-only file and has maxmemory-policy noeviction", err)
		return
	}
	for _, judge := range []func(serverInfo) Finding{judgeVersion, judgeRole, judgePersistence, judgeEviction, judgeMemory} {
		worst := judge(nodes[0])
		for _, node := range nodes[1:] {
			if finding := judge(node); severity(finding.Status) > severity(worst.Status) {
				worst = finding
				worst.Text = node.addr + ": " + worst.Text
			}
		}
		e.add(worst.Check, worst.Status, worst.Remedy, "%s", worst.Text)
	}
	e.filling(ctx)
}

// filling says how long the memory lasts, as the running programs noted it.
func (e *examination) filling(ctx context.Context) {
	const check, few, fewer = "Redis fills up", 14, 3
	filling, err := history.NewKeeper(e.rdb).Filling(ctx)
	switch days := filling.FullIn(); {
	case err != nil || !filling.Known:
		e.skip(check, "known after Spillway has run for a day")
	case days > 0 && days < few:
		status := Warn
		if days < fewer {
			status = Fail
		}
		e.add(check, status, "give Redis more memory (maxmemory), or look for what grows: redis-cli --bigkeys",
			"%.0f %% of the memory is used, %.1f %% more than a day ago: webhooks will be refused in about %.0f days", filling.Share*100, filling.PerDay*100, max(days, 1))
	default:
		e.ok(check, "%.0f %% of the memory is used, %+.1f %% since a day ago", filling.Share*100, filling.PerDay*100)
	}
}

func severity(status Status) int { return slices.Index([]Status{OK, Skipped, Warn, Fail}, status) }

// shown returns a setting as it may be printed.
func (e *examination) shown(name string) string {
	for _, setting := range e.settings.Settings() {
		if setting.Name == name {
			return setting.Value
		}
	}
	return ""
}

func ping(ctx context.Context, client redis.UniversalClient) ([]time.Duration, error) {
	took := make([]time.Duration, 0, pings)
	if err := client.Ping(ctx).Err(); err != nil { // connecting does not count
		return nil, err
	}
	for range pings {
		began := time.Now()
		if err := client.Ping(ctx).Err(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, nil
}

func redisRemedy(err error) string {
	var refused redis.Error
	if errors.As(err, &refused) {
		return "check what SPILLWAY_REDIS_URL says (kind of Redis, user, password, database), and what the user may do (ACL)"
	}
	return "start Redis, or set SPILLWAY_REDIS_URL to where it is (rediss:// only if it speaks TLS); check that no firewall is in between"
}

// serverInfo is what a server says of itself.
type serverInfo struct {
	addr   string
	info   redisconn.Info
	fsync  string // empty: not permitted to know
	policy string
}

// serversOf asks the server, or each master of a cluster.
func serversOf(ctx context.Context, client redis.UniversalClient) ([]serverInfo, error) {
	var mu sync.Mutex
	var nodes []serverInfo
	err := redisconn.EachMaster(ctx, client, func(ctx context.Context, node redis.Cmdable) error {
		one, err := readServer(ctx, node)
		if single, ok := node.(*redis.Client); ok && node != client {
			one.addr = single.Options().Addr
		}
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, one)
		return err
	})
	if err == nil && len(nodes) == 0 {
		err = errors.New("the cluster names no master")
	}
	return nodes, err
}

func readServer(ctx context.Context, client redis.Cmdable) (serverInfo, error) {
	info, err := redisconn.ReadInfo(ctx, client)
	if err != nil {
		return serverInfo{}, err
	}
	f := serverInfo{info: info, policy: info["maxmemory_policy"]}
	if values, err := client.ConfigGet(ctx, "appendfsync").Result(); err == nil {
		f.fsync = values["appendfsync"]
	}
	return f, nil
}

func judgeVersion(f serverInfo) Finding {
	const check = "Redis version"
	version := f.info["redis_version"]
	switch {
	case version == "":
		return Finding{check, Warn, "it is no Redis, or the one inside `spillway run`: not for real use", "use Redis " + leastRedis + " or later"}
	case older(version, leastRedis):
		return Finding{check, Fail, "it is " + version, "use Redis " + leastRedis + " or later"}
	}
	return Finding{check, OK, version, ""}
}

// older compares versions number by number.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		m, _ := strconv.Atoi(as[i])
		n, _ := strconv.Atoi(bs[i])
		if m != n {
			return m < n
		}
	}
	return len(as) < len(bs)
}

func judgeRole(f serverInfo) Finding {
	const check = "Redis role"
	switch role := f.info["role"]; {
	case role == "slave":
		return Finding{check, Fail, "it is a replica, which takes no writes", "set SPILLWAY_REDIS_URL to the master, or to the Sentinels (redis-sentinel://)"}
	case f.info["loading"] == "1":
		return Finding{check, Fail, "it is still loading its data", "wait until it has"}
	}
	replicas := int(f.info.Number("connected_slaves"))
	text := fmt.Sprintf("master, %d replicas", replicas)
	// Redis counts those in step only where it was told how many it needs.
	switch inStep, needed := f.info["min_slaves_good_slaves"]; {
	case needed && inStep == "0":
		return Finding{check, Fail, text + ", none of them in step, and min-replicas-to-write is set: webhooks are refused", "start the replica, and check that it reaches its master (INFO replication)"}
	case needed:
		return Finding{check, OK, text + "; what is acknowledged survives a failover (min-replicas-to-write)", ""}
	case replicas > 0:
		return Finding{
			check, Warn, text + ", and min-replicas-to-write is 0: a failover may lose acknowledged webhooks that the replica had not received",
			"redis-cli CONFIG SET min-replicas-to-write 1 on master and replicas, and in redis.conf",
		}
	}
	return Finding{check, OK, text, ""}
}

func judgePersistence(f serverInfo) Finding {
	const check = "Redis persistence"
	const remedy = "in redis.conf: appendonly yes; at once: redis-cli CONFIG SET appendonly yes"
	switch {
	case f.info["redis_version"] == "":
		return Finding{check, Warn, "unknown", remedy}
	case f.info["aof_enabled"] != "1":
		return Finding{check, Fail, "no append-only file: webhooks that were acknowledged are lost when Redis stops", remedy}
	case f.info["aof_last_write_status"] != "ok":
		return Finding{check, Fail, "the append-only file cannot be written", "see Redis's log; the disk may be full"}
	case f.info["aof_last_bgrewrite_status"] == "err":
		return Finding{check, Warn, "the last rewrite of the append-only file failed", "see Redis's log; it needs room for a second file, and vm.overcommit_memory=1"}
	case f.fsync == "no":
		return Finding{check, Warn, "append-only file with appendfsync no: a crash of the machine may lose half a minute of webhooks", "redis-cli CONFIG SET appendfsync everysec, and in redis.conf"}
	case f.fsync == "everysec":
		return Finding{check, Warn, "append-only file, fsync each second: a crash of the machine, and on a slow or busy disk a killed Redis, can lose up to two seconds of acknowledged webhooks", "redis-cli CONFIG SET appendfsync always, and in redis.conf: one fsync serves many webhooks"}
	case f.fsync == "always":
		return Finding{check, OK, "append-only file, fsync with each write: what is acknowledged survives a killed Redis and a crash of its machine", ""}
	}
	return Finding{check, OK, "append-only file", ""}
}

func judgeEviction(f serverInfo) Finding {
	const check = "Redis eviction"
	switch f.policy {
	case "noeviction":
		return Finding{check, OK, "maxmemory-policy noeviction", ""}
	case "":
		return Finding{check, Warn, "its maxmemory-policy is unknown", "make sure that it is noeviction"}
	}
	return Finding{
		check, Fail, "maxmemory-policy " + f.policy + ": when memory is short it drops contacts that wait",
		"redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf",
	}
}

func judgeMemory(f serverInfo) Finding {
	const check = "Redis memory"
	const mebi = 1 << 20
	used, most := f.info.Memory()
	of := "maxmemory"
	if f.info.Number("maxmemory") == 0 {
		of = "the machine's, no maxmemory is set"
	}
	if most == 0 {
		return Finding{check, OK, fmt.Sprintf("%.0f MiB used", used/mebi), ""}
	}
	text := fmt.Sprintf("%.0f of %.0f MiB used (%s)", used/mebi, most/mebi, of)
	const remedy = "give Redis more memory: when it is full webhooks are refused with 503"
	switch part := used / most; {
	case part >= 0.95:
		return Finding{check, Fail, text, remedy}
	case part >= 0.75:
		return Finding{check, Warn, text, remedy}
	}
	return Finding{check, OK, text, ""}
}
