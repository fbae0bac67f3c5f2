package reconcile

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// sums hold a number for each contact that carries a tag in the CRM: the sum of
// its tags' hashes. Two sets of tags have the same sum when they are equal, and
// else with a probability of one in 2^64. So a million contacts take 16 MB,
// however many tags they carry.
type sums struct {
	ids    []uint64 // ascending, each once
	totals []uint64 // of each id
	fresh  []sum    // not yet merged
}

type sum struct{ id, total uint64 }

// mergeAt is how many new sums are gathered before they are merged: one merge
// costs as much as all sums are long.
const mergeAt = 1 << 18

// add adds a tag to contacts; ids may hold a contact twice. It changes ids.
func (s *sums) add(tag uint64, ids []uint64) {
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		s.fresh = append(s.fresh, sum{id, tag})
	}
	if len(s.fresh) >= mergeAt {
		s.merge()
	}
}

// merge makes the sums whole. It works from behind, so that it needs no second
// copy of them.
func (s *sums) merge() {
	slices.SortFunc(s.fresh, func(a, b sum) int { return cmp.Compare(a.id, b.id) })
	added := s.fresh[:0]
	for _, f := range s.fresh {
		if last := len(added) - 1; last >= 0 && added[last].id == f.id {
			added[last].total += f.total
		} else {
			added = append(added, f)
		}
	}
	unknown := 0
	for at, i := 0, 0; i < len(added); i++ {
		for at < len(s.ids) && s.ids[at] < added[i].id {
			at++
		}
		if at == len(s.ids) || s.ids[at] != added[i].id {
			unknown++
		}
	}
	old := len(s.ids) - 1
	s.ids = append(s.ids, make([]uint64, unknown)...)
	s.totals = append(s.totals, make([]uint64, unknown)...)
	for to, i := len(s.ids)-1, len(added)-1; i >= 0; to-- {
		switch {
		case old >= 0 && s.ids[old] > added[i].id:
			s.ids[to], s.totals[to] = s.ids[old], s.totals[old]
			old--
		case old >= 0 && s.ids[old] == added[i].id:
			s.ids[to], s.totals[to] = s.ids[old], s.totals[old]+added[i].total
			old--
			i--
		default:
			s.ids[to], s.totals[to] = added[i].id, added[i].total
			i--
		}
	}
	s.fresh = s.fresh[:0]
}

// find returns where a contact stands.
func (s *sums) find(id uint64) (int, bool) { return slices.BinarySearch(s.ids, id) }

// hashOf returns the hash of a tag, which has all its bits used: sums of short
// texts' plain hashes would meet.
func hashOf(tag string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(tag))
	return mixed(h.Sum64())
}

// mixed is the finaliser of SplitMix64.
func mixed(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// numberOf reads a contact id as [contact.ParseID] accepts it.
func numberOf(id string) uint64 {
	n, _ := strconv.ParseUint(id, 10, 64)
	return n
}

func textOf(id uint64) string { return strconv.FormatUint(id, 10) }
