package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/pending"
)

func TestOpenAPIDescribesEachRouteAndNoOther(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // never asked
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	routes := New(Options{Redis: rdb, Contacts: pending.New(rdb, pending.Options{})}).handler.(*echo.Echo).Routes()
	var served []string
	for _, route := range routes {
		if path, ok := strings.CutPrefix(route.Path, "/api/v1"); ok && route.Method != echo.RouteNotFound {
			served = append(served, strings.ToLower(route.Method)+" "+strings.NewReplacer(":id", "{id}", ":name", "{name}").Replace(path))
		}
	}
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Summary   string
			Responses map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(openAPI, &document))
	require.Equal(t, "3.1.0", document.OpenAPI)
	var described []string
	for path, operations := range document.Paths {
		for method, operation := range operations {
			described = append(described, method+" "+path)
			require.NotEmpty(t, operation.Summary, path)
			require.Contains(t, operation.Responses, "401", path)
		}
	}
	require.ElementsMatch(t, served, described)
}
