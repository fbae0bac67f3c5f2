package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

func TestTheChartShowsWhatTheSeriesHolds(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	var points []history.Point
	for i := range 180 {
		points = append(points, history.Point{At: began.Add(time.Duration(i) * time.Minute), Received: 3, Synced: 2, DelayMS: 500})
	}
	points[179].Received, points[179].Failed = 1000, 4
	c := drawChart(rangeOf("3h"), points)
	require.EqualValues(t, 179*3+1000, c.Sum.Received)
	require.EqualValues(t, 2000, c.Top, "the highest step has 1003")
	require.Len(t, c.Failures, 1)
	require.InDelta(t, chartWidth-c.Bar, c.Failures[0], 0.01)
	require.Len(t, c.Rows, 9)
	require.Equal(t, 250*time.Millisecond, c.Rows[0].Delay())
	require.Equal(t, began, c.Rows[0].From)
	require.Equal(t, []string{"03:00", "03:58", "04:58", "05:58"}, c.Marks)

	empty := drawChart(rangeOf("30d"), nil)
	require.Empty(t, empty.Rows)
	require.Equal(t, "3h", rangeOf("elsewhere").Name)
}

func TestTheScaleEndsAtARoundNumber(t *testing.T) {
	t.Parallel()
	for most, top := range map[int64]int64{1: 2, 2: 2, 3: 10, 10: 10, 11: 20, 21: 50, 51: 100, 999: 1000, 1001: 2000} {
		require.Equal(t, top, niceTop(most), most)
	}
}

func TestTheTimeToDrainFollowsTheRecentPace(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 30, 0, time.UTC)
	p := &pace{}
	minutes := []history.Point{{At: now.Add(-90 * time.Second), Synced: 60}, {At: now.Add(-30 * time.Second), Synced: 30}}
	d := p.judge(now, pending.Stats{Synced: 1000, Pending: 50, Active: 5, Retrying: 5}, minutes)
	require.InDelta(t, 1.0, d.PerSecond, 0.01, "nobody looked before: the last minutes say it")
	require.Equal(t, time.Minute, d.Left)
	for i := range 20 {
		d = p.judge(now.Add(time.Duration(i+1)*time.Second), pending.Stats{Synced: 1000 + int64(i+1)*10, Pending: 100}, minutes)
	}
	require.InDelta(t, 10, d.PerSecond, 0.01)
	require.Equal(t, 10*time.Second, d.Left)
	for i := range 40 {
		d = p.judge(now.Add(time.Duration(i+30)*time.Second), pending.Stats{Synced: 1200, Pending: 100}, nil)
	}
	require.False(t, d.Known, "nothing was synced for half a minute")
	d = p.judge(now.Add(2*time.Minute), pending.Stats{Synced: 1, Pending: 1}, nil)
	require.False(t, d.Known, "Redis was emptied")
}

func TestNumbersAndSpansAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for n, text := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		require.Equal(t, text, numberText(n))
	}
	for span, text := range map[time.Duration]string{
		0: "0 s", 12 * time.Millisecond: "12 ms", 1500 * time.Millisecond: "1.5 s", 2 * time.Second: "2 s",
		75 * time.Second: "75 s", 10 * time.Minute: "10 min", 5 * time.Hour: "5 h", 72 * time.Hour: "3 days",
	} {
		require.Equal(t, text, spanText(span))
	}
	require.Equal(t, shownFact{"share", "45 %"}, factOf("share", 0.45))
	require.Equal(t, shownFact{"latency", "60.5 ms"}, factOf("latency_ms", 60.47))
}

func TestTheLoginPageSendsNobodyElsewhere(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/contacts/7?x=1": "/contacts/7?x=1", "": "/", "https://evil.example/": "/", "//evil.example/": "/",
		"/\\evil.example": "/", "javascript:alert(1)": "/", "/\t/evil.example": "/", "evil": "/",
	} {
		require.Equal(t, want, localPath(path), path)
	}
}
