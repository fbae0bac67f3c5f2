package progress

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPaceIsThatOfTheLastSecondsAndIgnoresWhatWasDoneBefore(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := newMeter(began, 1000, 5000)
	require.Equal(t, "1000 / 5000", m.text(began.Add(200*time.Millisecond)), "no rate out of nothing")
	for second := range 20 {
		m.set(began.Add(time.Duration(second+1)*time.Second), 1000+int64(second+1)*10)
	}
	require.Equal(t, "1200 / 5000  10/s  6m20s left", m.text(began.Add(20*time.Second)))
	for second := 20; second < 40; second++ {
		m.set(began.Add(time.Duration(second+1)*time.Second), 1200+int64(second-19)*100)
	}
	require.Equal(t, "3200 / 5000  100/s  18s left", m.text(began.Add(40*time.Second)))
	m.set(began.Add(58*time.Second), 5000)
	require.Equal(t, "5000 / 5000  in 58s", m.text(began.Add(90*time.Second)))
}

func TestWorkThatStandsStillHasNoTimeLeft(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := newMeter(began, 0, 10)
	require.Equal(t, "0 / 10  0.0/s", m.text(began.Add(time.Minute)))
	unknown := newMeter(began, 0, 0)
	unknown.set(began.Add(2*time.Second), 5)
	require.Equal(t, "5  2.5/s", unknown.text(began.Add(2*time.Second)))
}

func TestDurationsAreShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 3 * time.Hour: "3h00m",
	} {
		require.Equal(t, want, short(d))
	}
}
