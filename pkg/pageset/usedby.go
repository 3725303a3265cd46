package pageset

import (
	"fmt"
	"slices"
	"strings"

	"maintenance-controller.io/pkg/target"
)

// maxUsedBy limits the used-by record in bytes. The record is for people, and for finding
// targets at startup; nothing depends on it being complete.
const maxUsedBy = 64 << 10

// UsedBy is the record of a set's users, sorted: Ingress/a,IngressRoute/b. One that would
// exceed 64 KiB ends in +N for the N users that are left out.
func UsedBy(users []target.Ref) string {
	entries := make([]string, 0, len(users))
	for _, u := range users {
		entries = append(entries, u.UsedByEntry())
	}
	slices.Sort(entries)
	entries = slices.Compact(entries)
	var b strings.Builder
	for i, e := range entries {
		if b.Len()+len(e)+len(",+1234567") > maxUsedBy {
			fmt.Fprintf(&b, ",+%d", len(entries)-i)
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(e)
	}
	return b.String()
}

// ParseUsedBy reads a used-by record and skips invalid entries.
func ParseUsedBy(namespace, usedBy string) []target.Ref {
	var users []target.Ref
	for entry := range strings.SplitSeq(usedBy, ",") {
		if ref, err := target.ParseUsedByEntry(namespace, entry); err == nil {
			users = append(users, ref)
		}
	}
	return users
}
