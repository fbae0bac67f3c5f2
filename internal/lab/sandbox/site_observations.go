package sandbox

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// observation is what the answer for a contact that is not stored has besides.
type observation struct {
	Keys        []string `json:"keys"`
	TagsAdded   []string `json:"tags_added"`
	TagsRemoved []string `json:"tags_removed"`
	RoleGiven   string   `json:"role_given"`
}

func nothing() *observation {
	return &observation{Keys: []string{}, TagsAdded: []string{}, TagsRemoved: []string{}}
}

// seen completes the answer for a contact that would not be stored.
func (r result) seen(in incoming) result {
	if in.observed {
		r.observation = nothing()
	}
	return r
}

// created completes the answer for a contact whose user would be created.
func (r result) created(u *user, in incoming) result {
	r.observation = nothing()
	for _, key := range slices.Sorted(maps.Keys(in.fields)) {
		if !slices.Contains(r.Notes, fieldKept(key)) {
			r.Keys = append(r.Keys, key)
		}
	}
	r.TagsAdded = append(r.TagsAdded, u.tags()...)
	r.RoleGiven = r.Role
	return r
}

// changed completes the answer for a contact that would change a user.
func (r result) changed(before, after *user, in incoming) result {
	r.observation = nothing()
	if before.password != after.password {
		r.Keys = append(r.Keys, "user_pass")
	}
	if in.action != "update_tags" {
		for _, key := range slices.Sorted(maps.Keys(in.fields)) {
			had, has := before.value(key), after.value(key)
			if reflect.DeepEqual(had, has) {
				continue
			}
			r.Keys = append(r.Keys, key)
			if reason := reasonFor(key, had, has); reason != "" {
				r.Notes = append(r.Notes, reason)
			}
		}
	}
	r.TagsAdded = append(r.TagsAdded, without(after.tags(), before.tags())...)
	r.TagsRemoved = append(r.TagsRemoved, without(before.tags(), after.tags())...)
	if !slices.Equal(before.Roles, after.Roles) {
		r.RoleGiven = after.Roles[0]
	}
	return r
}

func (u *user) tags() []string {
	tags, _ := u.Meta[tagsKey].([]string)
	return tags
}

// value is what a user has under a key; nil: no such meta.
func (u *user) value(key string) any {
	switch key {
	case "user_email":
		return u.Email
	case "display_name":
		return u.DisplayName
	case "user_url":
		return u.URL
	case "user_nicename":
		return u.Nicename
	}
	return u.Meta[key]
}

// reasonFor says why a value may differ that WP Fusion has stored.
func reasonFor(key string, had, has any) string {
	old, wasText := had.(string)
	text, isText := has.(string)
	switch {
	case recordWidths()[key] > 0 || had == nil:
		return ""
	case text == "0" && wasText && old != "" && old != "0":
		return "unticked:" + key
	case wasText && isText:
		if strings.Join(strings.Fields(old), " ") == strings.Join(strings.Fields(text), " ") {
			return "cleaned:" + key
		}
	case slices.Equal(elements(had), elements(has)):
		return "list:" + key
	}
	return ""
}

// elements are those of a list, or of a text with commas.
func elements(value any) []string {
	list, ok := value.([]string)
	if !ok {
		one, _ := value.(string)
		list = []string{one}
	}
	parts := strings.Split(strings.Join(list, ","), ",")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return parts
}
