package sandbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
)

// seededTags is how many different tags seeded contacts carry, from 1 on.
const seededTags = 40

// Seed makes the contacts 1 to n, those that exist left out. Which data a
// contact gets depends on its id alone.
func (c *CRM) Seed(n int) { c.SeedWithTags(n, seededTags) }

// SeedWithTags is Seed with another number of different tags.
func (c *CRM) SeedWithTags(n, tags int) {
	for id := 1; id <= n; id++ {
		text := strconv.Itoa(id)
		if _, exists := c.Contact(text); exists {
			continue
		}
		fields, carried := seeded(id, tags)
		c.Put(text, fields, carried)
	}
}

func seeded(id, tags int) (fields map[string]any, carried []int) {
	random := rand.New(rand.NewPCG(uint64(id), 1))
	domain := "example.com"
	if id%5 == 0 {
		domain = "example.org"
	}
	fields = map[string]any{
		"email":                  fmt.Sprintf("contact%d@%s", id, domain),
		"first_name":             fmt.Sprintf("First %d", id),
		"last_name":              fmt.Sprintf("Last %d", id),
		"middle_name":            nil,
		"phone":                  fmt.Sprintf("+1 555 01%02d", id%100),
		"company":                fmt.Sprintf("Company %d", 1+random.IntN(200)),
		"address_1.street":       fmt.Sprintf("%d Example Street", 1+random.IntN(900)),
		"address_1.city":         fmt.Sprintf("City %d", 1+random.IntN(50)),
		"address_1.country":      "US",
		"address_1.country_name": "United States",
		"interests":              []any{fmt.Sprintf("Interest %d", 1+random.IntN(5)), fmt.Sprintf("Interest %d", 6+random.IntN(5))},
		"newsletter":             random.IntN(2) == 0,
		"orders":                 random.IntN(20),
		"website":                "",
		"wp_password":            "",
	}
	if id%3 == 0 {
		fields["company"] = nil
	}
	carried = []int{}
	for range min(tags, random.IntN(9)) {
		if tag := 1 + random.IntN(tags); !slices.Contains(carried, tag) {
			carried = append(carried, tag)
		}
	}
	return fields, carried
}
