package page

import "time"

// lastMinute is the last one that RFC 3339 can write.
func lastMinute() time.Time { return time.Date(9999, 12, 31, 23, 59, 0, 0, time.UTC) }

// Minute gives the time when maintenance is over in the form that a page has it in: in
// UTC, rounded up to a minute, so that targets whose ends differ by seconds share a page
// set, and no page promises too much. Zero stays zero.
func Minute(until time.Time) time.Time {
	if until.IsZero() {
		return time.Time{}
	}
	minute := until.UTC().Truncate(time.Minute)
	if minute.Before(until) {
		minute = minute.Add(time.Minute)
	}
	if last := lastMinute(); minute.After(last) {
		return last
	}
	return minute
}
