package annotations

// About says what an annotation of a target means.
type About struct {
	Keys []string // with the same meaning
	// Person says that people write it; otherwise the controller does.
	Person bool
	// Meaning is Markdown, with links from the folder docs.
	Meaning string
}

// Reference lists the annotations of a target; a table of docs/reference.md is made of it.
func Reference() []About {
	return []About{
		{[]string{DefaultEnabled}, true, "`true` puts the target in maintenance; `false`, empty or absent does not. Any other value does not either, and is a Warning event. `false` also switches `maintenance/auto` off"},
		{[]string{DefaultCustomPage}, true, "name of a [page](pages.md); absent or `default` means the default page"},
		{[]string{Reason, By}, true, "why, and who says so: free text, shown in Events. At most 256 and 128 bytes are shown"},
		{[]string{Until}, true, "when maintenance [ends](until.md): RFC 3339 with an offset, such as `2026-11-29T06:00:00+01:00`. Absent: no end"},
		{[]string{Lease}, true, "names of at most 64 Leases in the target's namespace, comma-separated: maintenance [ends](until.md#as-long-as-a-lease-is-renewed) when none of them is renewed any more"},
		{[]string{BypassSecret}, true, "name of a Secret in the target's namespace, with the [tokens](access.md#tokens) that let people through to the app"},
		{[]string{OpenPaths}, true, "[path prefixes](access.md#open-paths) that stay open for everyone, comma-separated, at most 64"},
		{[]string{ReadOnly}, true, "`true` lets `GET`, `HEAD` and `OPTIONS` [through](access.md#read-only)"},
		{[]string{AllowFrom}, true, "reserved: has no effect, and is a Warning event"},
		{[]string{Auto}, true, "`backends` or `checker`: maintenance [begins and ends automatically](auto.md), as the backends or a ServiceChecker say"},
		{[]string{Checker}, true, "with `maintenance/auto: checker`: name of a [ServiceChecker](checker.md) in the target's namespace"},
		{[]string{RestoreWhen}, true, "`ready` keeps visitors on the page [until the app is ready](auto.md#while-it-is-restoring)"},
		{[]string{RestoreTimeout}, true, "bounds `auto` and `restore-when`: a duration from `1s` to `168h`, default `10m`; `0` is [no bound](auto.md#the-timeout)"},
		{[]string{State}, false, "see [States](#states); absent outside maintenance"},
		{[]string{Message}, false, "why the target is in that state, where somebody should know or act"},
		{[]string{Since}, false, "when maintenance began, RFC 3339"},
		{[]string{PageSet}, false, "name of the page set that the backends point at"},
		{[]string{AccessReport}, false, "who was [let through](access.md), and what does not work about it"},
		{[]string{Cause}, false, "why maintenance [began automatically](auto.md#who-decides), and since when; JSON"},
		{[]string{RestoringSince}, false, "since when the end of maintenance has been waiting for the app, RFC 3339"},
		{[]string{Original}, false, "what the backends were: see [Restore by hand](restore.md#restore-by-hand)"},
		{[]string{Installation}, false, "id of the [installation](operations.md#two-installations-in-one-cluster) that has the target in maintenance"},
	}
}
