package sandbox

import (
	"net/http"
	"strconv"
	"time"
)

// serveControl registers the routes with which people and scripts look into the
// site's database and disturb it.
func (s *Site) serveControl() {
	ok := reply(http.StatusOK, map[string]bool{"ok": true})
	s.mux.HandleFunc("GET /control/users", control(s.controlUsers))
	s.mux.HandleFunc("GET /control/users/{id}", control(s.controlUser))
	s.mux.HandleFunc("POST /control/password", control(s.controlPassword))
	s.mux.HandleFunc("GET /control/mails", control(func(r *http.Request, _ []byte) answer {
		mails := s.Mails(r.URL.Query().Get("to"))
		if mails == nil {
			mails = []string{}
		}
		return reply(http.StatusOK, map[string]any{"mails": mails})
	}))
	s.mux.HandleFunc("GET /control/stats", control(func(*http.Request, []byte) answer { return reply(http.StatusOK, s.Stats()) }))
	s.mux.HandleFunc("PUT /control/poison/{contact}", control(func(r *http.Request, _ []byte) answer {
		s.Poison(r.PathValue("contact"))
		return ok
	}))
	s.mux.HandleFunc("DELETE /control/poison/{contact}", control(func(r *http.Request, _ []byte) answer {
		s.Cure(r.PathValue("contact"))
		return ok
	}))
	s.mux.HandleFunc("POST /control/fail", control(s.faults.control))
	s.mux.HandleFunc("DELETE /control/fail", control(s.faults.control))
	s.mux.HandleFunc("POST /control/code", control(func(*http.Request, []byte) answer {
		return reply(http.StatusOK, map[string]string{"code": s.ConnectionCode()})
	}))
	s.mux.HandleFunc("GET /control/latency", control(s.controlLatency))
	s.mux.HandleFunc("POST /control/latency", control(s.controlLatency))
}

// controlUsers lists users: all, those of a contact, or those with an address.
func (s *Site) controlUsers(r *http.Request, _ []byte) answer {
	query := r.URL.Query()
	var found []User
	switch {
	case query.Has("contact"):
		found = s.UsersByContact(query.Get("contact"))
	case query.Has("email"):
		found = s.UsersByEmail(query.Get("email"))
	default:
		found = s.Users()
	}
	if found == nil {
		found = []User{}
	}
	return reply(http.StatusOK, map[string]any{"users": found})
}

func (s *Site) controlUser(r *http.Request, _ []byte) answer {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	u, ok := s.UserByID(id)
	if err != nil || !ok {
		return problem(http.StatusNotFound, "no user has this id")
	}
	return reply(http.StatusOK, u)
}

// controlPassword tells whether a password logs in.
func (s *Site) controlPassword(_ *http.Request, body []byte) answer {
	var wanted struct {
		Login    string `json:"login"`
		Password string `json:"password"`
	}
	if err := decodeControl(body, &wanted); err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	return reply(http.StatusOK, map[string]bool{"works": s.PasswordWorks(wanted.Login, wanted.Password)})
}

// controlLatency tells and changes what a request and a contact cost.
func (s *Site) controlLatency(r *http.Request, body []byte) answer {
	costs := struct {
		Start   float64 `json:"start_milliseconds"`
		Contact float64 `json:"contact_milliseconds"`
	}{milliseconds(time.Duration(s.costs.start.Load())), milliseconds(time.Duration(s.costs.contact.Load()))}
	if r.Method == http.MethodPost {
		if err := decodeControl(body, &costs); err != nil {
			return problem(http.StatusBadRequest, "%v", err)
		}
		if costs.Start < 0 || costs.Contact < 0 {
			return problem(http.StatusBadRequest, "costs cannot be negative")
		}
		s.SetCosts(seconds(costs.Start/1000), seconds(costs.Contact/1000))
	}
	return reply(http.StatusOK, costs)
}
