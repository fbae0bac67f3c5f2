package assembly

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/sites/gone"
)

// Dropping a site takes all of its keys and none of another, however alike the names
// are.
func TestDroppingASiteTakesItsKeysAndNoOthers(t *testing.T) {
	t.Parallel()
	of := map[string][]string{
		contact.DefaultSite: {
			"spw:{spillway}:c:default:1", "spw:{spillway}:h:default:1", "spw:{spillway-3}:due", "spw:queues", "asynq:{spillway}:t:default:1:e",
			"asynq:{spillway-0}:scheduled", "spw:{site}:guard", "spw:{site}:creations:made", "spw:{crm}:breaker",
			"spw:v:password:default:1", "spw:a:default:x", "spw:reconcile:default:last",
		},
		"shop": {
			"spw:{spillway.shop}:stats", "spw:{spillway.shop.12}:due", "spw:queues:shop", "asynq:{spillway.shop}:pending", "asynq:{spillway.shop.1}:t:shop:1:e",
			"spw:{site.shop}:slots", "spw:{crm.shop}:breaker", "spw:refusals:shop", "spw:v:password:shop:1", "spw:a:shop:x", "spw:reconcile:shop:done",
		},
		"shop-2":       {"spw:{spillway.shop-2}:due", "spw:{spillway.shop-2.0}:due", "spw:queues:shop-2", "spw:refusals:shop-2", "spw:{site.shop-2}:guard", "spw:v:password:shop-2:1", "spw:a:shop-2:x"},
		"installation": {"spw:refusals", "spw:{crm}:budget", "spw:{crm.shop}:budget", "spw:v:oauth", "spw:sites", "spw:{replicas}:seen", "spw:history:shares", "spw:session:x"},
	}
	for _, name := range []string{contact.DefaultSite, "shop"} {
		rdb := redistest.Start(t).Client()
		for _, keys := range of {
			for _, key := range keys {
				if key != "spw:sites" && key != "spw:queues" && key != "spw:queues:shop" {
					require.NoError(t, rdb.HSet(t.Context(), key, "field", "value").Err())
				}
			}
		}
		require.NoError(t, rdb.Del(t.Context(), "spw:{spillway}:active", "spw:{spillway.shop}:active").Err())
		require.NoError(t, rdb.MSet(t.Context(), "spw:queues", 4, "spw:queues:shop", 1).Err())
		require.NoError(t, rdb.ZAdd(t.Context(), "spw:sites", redis.Z{Score: 1, Member: name}, redis.Z{Score: 1, Member: "shop-2"}).Err())
		require.NoError(t, rdb.SAdd(t.Context(), "asynq:queues", "spillway", "spillway-0", "spillway.shop", "spillway.shop.1", "spillway.shop-2").Err())
		keys, err := gone.New(rdb, folderOf(t, "another"), keysOf).Drop(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, len(of[name]), keys)
		left, err := rdb.Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		want := []string{"asynq:queues"}
		for owner, keys := range of {
			if owner != name {
				want = append(want, keys...)
			}
		}
		require.ElementsMatch(t, want, left)
		queues := map[string][]string{
			contact.DefaultSite: {"spillway.shop", "spillway.shop.1", "spillway.shop-2"}, "shop": {"spillway", "spillway-0", "spillway.shop-2"},
		}
		require.ElementsMatch(t, queues[name], rdb.SMembers(t.Context(), "asynq:queues").Val())
		require.Equal(t, []string{"shop-2"}, rdb.ZRange(t.Context(), "spw:sites", 0, -1).Val())
	}
}

// A folder that cannot be read, or is empty, makes no site one that has gone.
func TestSitesHaveNotGoneWhileTheirFolderCannotBeRead(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	require.NoError(t, rdb.ZAdd(t.Context(), "spw:sites", redis.Z{Score: 1, Member: "shop"}).Err())
	for _, folder := range []string{t.TempDir(), t.TempDir() + "/none"} {
		_, err := gone.New(rdb, folder, keysOf).Drop(t.Context(), "shop")
		require.Error(t, err)
		_, err = gone.New(rdb, folder, keysOf).List(t.Context())
		require.Error(t, err)
	}
	require.EqualValues(t, 1, rdb.ZCard(t.Context(), "spw:sites").Val())
}

// folderOf is a folder with a file for each site.
func folderOf(t *testing.T, names ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".env"), nil, 0o600))
	}
	return folder
}
