package ingest

import "net/http"

// Handler is what a Server serves.
func (s *Server) Handler() http.Handler { return s.handler }
