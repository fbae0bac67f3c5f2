package admin

import (
	"fmt"
	"strings"
	"time"

	"spillway/internal/pending/history"
)

// chartRange is a span of time that the chart can show.
type chartRange struct {
	Name  string
	Title string
	step  history.Step
	width time.Duration // of a step
	n     int           // steps
	bin   int           // steps that are drawn as one
	row   int           // bins that are one row of the table
	label string        // how times are written
}

func chartRanges() []chartRange {
	return []chartRange{
		{"3h", "3 hours", history.Minute, time.Minute, 180, 2, 10, "15:04"},
		{"24h", "24 hours", history.Minute, time.Minute, 1440, 10, 12, "15:04"},
		{"30d", "30 days", history.Hour, time.Hour, 720, 6, 8, "2 Jan"},
	}
}

// rangeOf returns the range of a name, the first for an unknown one.
func rangeOf(name string) chartRange {
	ranges := chartRanges()
	for _, r := range ranges {
		if r.Name == name {
			return r
		}
	}
	return ranges[0]
}

// The drawing's own units; the page stretches them.
const chartWidth, chartHeight = 1000, 200

// chart is what was received and synced, ready to be drawn.
type chart struct {
	Range  chartRange
	Ranges []chartRange
	Per    string // what a step of the drawing stands for
	// Area and Line are the paths of received webhooks and of synced passes,
	// Failures the places of steps in which passes failed.
	Area, Line string
	Failures   []float64
	Bar        float64 // width of a step
	Height     int
	Width      int
	Top        int64    // the value at the upper edge
	Half       int64    // and in the middle
	Marks      []string // times under the drawing, evenly spread
	Sum        history.Point
	Rows       []chartRow
}

// chartRow is a line of the table that says the same.
type chartRow struct {
	From  time.Time
	Label string
	history.Point
}

// Delay is the average time from the first webhook to the sync.
func (r chartRow) Delay() time.Duration { return delayOf(r.Point) }

func delayOf(p history.Point) time.Duration {
	if p.Synced == 0 {
		return 0
	}
	return time.Duration(p.DelayMS/p.Synced) * time.Millisecond
}

func drawChart(chosen chartRange, points []history.Point) chart {
	c := chart{Range: chosen, Ranges: chartRanges(), Width: chartWidth, Height: chartHeight, Per: spanText(chosen.width * time.Duration(chosen.bin))}
	bins := group(points, chosen.bin)
	if len(bins) == 0 {
		return c
	}
	c.Sum = sumOf(bins)
	var most int64 = 1
	for _, bin := range bins {
		most = max(most, bin.Received, bin.Synced)
	}
	c.Top = niceTop(most)
	c.Half = c.Top / 2
	c.Bar = float64(chartWidth) / float64(len(bins))
	var area, line strings.Builder
	fmt.Fprintf(&area, "M0 %d", chartHeight)
	for i, bin := range bins {
		left, right := c.Bar*float64(i), c.Bar*float64(i+1)
		received, synced := c.y(bin.Received), c.y(bin.Synced)
		fmt.Fprintf(&area, "L%.1f %.1fL%.1f %.1f", left, received, right, received)
		verb := "L"
		if i == 0 {
			verb = "M"
		}
		fmt.Fprintf(&line, "%s%.1f %.1fL%.1f %.1f", verb, left, synced, right, synced)
		if bin.Failed > 0 {
			c.Failures = append(c.Failures, left)
		}
	}
	fmt.Fprintf(&area, "L%d %dZ", chartWidth, chartHeight)
	c.Area, c.Line = area.String(), line.String()
	const marks = 4
	for i := range marks {
		c.Marks = append(c.Marks, bins[i*(len(bins)-1)/(marks-1)].At.Format(chosen.label))
	}
	for _, row := range group(bins, chosen.row) {
		c.Rows = append(c.Rows, chartRow{row.At, row.At.Format(chosen.label), row})
	}
	return c
}

// y is the place of a value: the more, the higher.
func (c chart) y(value int64) float64 {
	return chartHeight * (1 - float64(value)/float64(c.Top))
}

// Failed is the height of the marks of failed passes.
func (c chart) Failed() int { return chartHeight - 4 }

// group adds up n points each. The last group is the one that ends now, so the
// first may be smaller.
func group(points []history.Point, n int) []history.Point {
	var groups []history.Point
	for end := len(points); end > 0; end -= n {
		groups = append(groups, sumOf(points[max(0, end-n):end]))
	}
	for i, j := 0, len(groups)-1; i < j; i, j = i+1, j-1 {
		groups[i], groups[j] = groups[j], groups[i]
	}
	return groups
}

// sumOf adds points up; its time is the first one's.
func sumOf(points []history.Point) history.Point {
	sum := history.Point{At: points[0].At}
	for _, p := range points {
		sum.Received += p.Received
		sum.Coalesced += p.Coalesced
		sum.Synced += p.Synced
		sum.Failed += p.Failed
		sum.Parked += p.Parked
		sum.DelayMS += p.DelayMS
	}
	return sum
}

// niceTop is the next even number that has one figure before its zeros, or 1.
func niceTop(most int64) int64 {
	top := int64(10)
	for top < most {
		top *= 10
	}
	for _, part := range []int64{5, 2} {
		if top/part >= most && top/part%2 == 0 {
			return top / part
		}
	}
	return top
}
