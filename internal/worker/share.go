package worker

import "sync"

// share bounds how many of a worker's handlers each site has, so that a site that
// is slow or in a burst leaves some for the others: a site takes a further one
// only if it then has at most twice as many as are free. One busy site then has
// two thirds, two have two fifths each, and the last free ones go to sites that
// have none. A site that is the only one has all.
type share struct {
	most int

	mu    sync.Mutex
	alone bool
	total int
	of    map[string]int
}

func newShare(most int) *share { return &share{most: most, of: make(map[string]int)} }

// among says how many sites there are.
func (s *share) among(sites int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = sites <= 1
}

// take takes a handler for a site; nil: it has to wait.
func (s *share) take(site string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.most - s.total
	further := s.of[site] > 0 && !s.alone
	if free <= 0 || further && s.of[site]+1 > 2*(free-1) {
		return nil
	}
	s.total++
	s.of[site]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.of[site]--; s.of[site] == 0 {
			delete(s.of, site)
		}
	}
}
