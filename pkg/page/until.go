package page

import "time"

// lastMinute is the last minute that RFC 3339 can express.
func lastMinute() time.Time { return time.Date(9999, 12, 31, 23, 59, 0, 0, time.UTC) }

// Minute returns the end of maintenance as a page has it: in UTC, rounded up to a whole
// minute. So targets whose ends differ by seconds share a page set, and no page promises an
// end that is too early. Zero stays zero.
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
