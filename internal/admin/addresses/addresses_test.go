package addresses_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/addresses"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
)

func ref(id string) contact.Ref { return contact.Ref{Site: contact.DefaultSite, ID: id} }

func TestAContactIsFoundByItsAddressAndNothingOfItIsKept(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	index := addresses.New(rdb, []byte(strings.Repeat("k", 32)))
	require.NoError(t, index.Note(t.Context(), ref("7"), "Ann.Example@example.org"))
	require.NoError(t, index.Note(t.Context(), ref("9"), "ann.example@EXAMPLE.org "))
	require.NoError(t, index.Note(t.Context(), ref("5"), " "))

	found, err := index.Find(t.Context(), contact.DefaultSite, " ANN.example@example.org")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"7", "9"}, found)
	for _, other := range []struct{ key, site, address string }{
		{"k", contact.DefaultSite, "bob@example.org"},
		{"k", "second", "ann.example@example.org"},
		{"x", contact.DefaultSite, "ann.example@example.org"},
	} {
		found, err = addresses.New(rdb, []byte(strings.Repeat(other.key, 32))).Find(t.Context(), other.site, other.address)
		require.NoError(t, err)
		require.Empty(t, found)
	}

	keys, err := rdb.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.NotContains(t, strings.ToLower(keys[0]), "ann")
	left, err := rdb.TTL(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.Greater(t, left, 29*24*time.Hour)
}

func TestAnAddressOfManyContactsLeadsToTheLastOnes(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	index := addresses.New(rdb, []byte(strings.Repeat("k", 32)))
	for id := range 30 {
		require.NoError(t, index.Note(t.Context(), ref(fmt.Sprint(id+1)), "office@example.org"))
	}
	found, err := index.Find(t.Context(), contact.DefaultSite, "office@example.org")
	require.NoError(t, err)
	require.Len(t, found, 10)
}

// crm is a CRM with one contact.
type crm struct{}

func (crm) Contact(_ context.Context, id string) (map[string]any, error) {
	if id != "7" {
		return nil, fmt.Errorf("reading contact %s: none", id)
	}
	return map[string]any{"mail": "ann@example.org"}, nil
}
func (crm) Tags(context.Context, string) ([]string, error)          { return nil, nil }
func (crm) Update(context.Context, string, map[string]string) error { return nil }
func (crm) Fields(context.Context) (map[string]string, error)       { return nil, nil }
func (crm) ApplyTags(context.Context, string, []string) error       { return nil }
func (crm) RemoveTags(context.Context, string, []string) error      { return nil }

func TestAPassNotesWhatItReadsAndBearsAnAbsentRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	index := addresses.New(server.Client(), []byte(strings.Repeat("k", 32)))
	var missed []error
	noting := addresses.Noting{
		CRM: crm{}, Index: index, Site: contact.DefaultSite, Field: "mail",
		Missed: func(err error) { missed = append(missed, err) },
	}
	_, err := noting.Contact(t.Context(), "7")
	require.NoError(t, err)
	found, err := index.Find(t.Context(), contact.DefaultSite, "ann@example.org")
	require.NoError(t, err)
	require.Equal(t, []string{"7"}, found)
	_, err = noting.Contact(t.Context(), "8")
	require.Error(t, err)
	require.Empty(t, missed)

	server.Kill()
	record, err := noting.Contact(t.Context(), "7")
	require.NoError(t, err)
	require.Equal(t, "ann@example.org", record["mail"])
	require.Len(t, missed, 1)
	require.NotContains(t, missed[0].Error(), "ann")
}
