package sandbox

import (
	"bytes"
	"encoding/json"
	"net/http"

	"spillway/internal/contact"
)

// maxSeed bounds what one request may make.
const maxSeed = 1_000_000

// serveControl registers the routes with which people and scripts play the CRM's
// users.
func (c *CRM) serveControl() {
	c.mux.HandleFunc("GET /control/contacts/{id}", control(c.controlGet))
	c.mux.HandleFunc("PUT /control/contacts/{id}", control(c.controlPut))
	c.mux.HandleFunc("DELETE /control/contacts/{id}", control(c.controlDelete))
	c.mux.HandleFunc("POST /control/seed", control(c.controlSeed))
	c.mux.HandleFunc("GET /control/stats", control(func(*http.Request, []byte) answer { return reply(http.StatusOK, c.Stats()) }))
	c.mux.HandleFunc("POST /control/fail", control(c.faults.control))
	c.mux.HandleFunc("DELETE /control/fail", control(c.faults.control))
	c.mux.HandleFunc("GET /control/latency", control(c.controlLatency))
	c.mux.HandleFunc("POST /control/latency", control(c.controlLatency))
}

func (c *CRM) controlGet(r *http.Request, _ []byte) answer {
	id := r.PathValue("id")
	fields, tags, ok := c.records.read(id)
	if !ok {
		return problem(http.StatusNotFound, "no contact has this id")
	}
	if tags == nil {
		tags = []int{}
	}
	return reply(http.StatusOK, map[string]any{"id": id, "fields": fields, "tags": tags, "updates": c.Updates(id)})
}

// controlPut takes fields and, as the member "tags", the list of tag ids.
func (c *CRM) controlPut(r *http.Request, body []byte) answer {
	id, err := contact.ParseID(r.PathValue("id"))
	if err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return problem(http.StatusBadRequest, "reading the body as a JSON object: %v", err)
	}
	var tags struct {
		Tags []int `json:"tags"`
	}
	if err := decodeControl(body, &tags); err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	delete(fields, "tags")
	c.Put(id, fields, tags.Tags)
	return c.controlGet(r, nil)
}

func (c *CRM) controlDelete(r *http.Request, _ []byte) answer {
	if !c.Delete(r.PathValue("id")) {
		return problem(http.StatusNotFound, "no contact has this id")
	}
	return reply(http.StatusOK, map[string]bool{"ok": true})
}

func (c *CRM) controlSeed(_ *http.Request, body []byte) answer {
	wanted := struct {
		Contacts int `json:"contacts"`
		Tags     int `json:"tags"`
	}{Tags: seededTags}
	if err := decodeControl(body, &wanted); err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	if wanted.Contacts < 0 || wanted.Contacts > maxSeed || wanted.Tags < 0 || wanted.Tags > maxSeed {
		return problem(http.StatusBadRequest, `"contacts" and "tags" are numbers from 0 to %d`, maxSeed)
	}
	c.SeedWithTags(wanted.Contacts, wanted.Tags)
	return reply(http.StatusOK, map[string]int{"contacts": len(c.IDs())})
}

func (c *CRM) controlLatency(r *http.Request, body []byte) answer {
	if r.Method == http.MethodPost {
		var wanted struct {
			Milliseconds float64 `json:"milliseconds"`
		}
		if err := decodeControl(body, &wanted); err != nil {
			return problem(http.StatusBadRequest, "%v", err)
		}
		if wanted.Milliseconds < 0 {
			return problem(http.StatusBadRequest, `"milliseconds" cannot be negative`)
		}
		c.SetLatency(seconds(wanted.Milliseconds / 1000))
	}
	return reply(http.StatusOK, map[string]float64{"milliseconds": milliseconds(c.latencyNow())})
}
