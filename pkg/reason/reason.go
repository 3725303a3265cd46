// Package reason explains the reasons of Events to people.
package reason

import "slices"

// About explains a reason of type R.
type About[R ~string] struct {
	Reason R // in UpperCamelCase
	// Warning says that somebody should look; otherwise the event reports a transition.
	Warning bool
	// Meaning says what happened, and Remedy what to do about it, as the documentation's
	// tables have them: in Markdown, and "–" for nothing.
	Meaning, Remedy string
}

// Warns says whether events of a reason are of type Warning; false for a reason that is
// not in the list.
func Warns[R ~string](all []About[R], r R) bool {
	return slices.ContainsFunc(all, func(a About[R]) bool { return a.Reason == r && a.Warning })
}
