package readiness

// RecordCount returns the number of Services of a namespace that have records.
func (w *Watcher) RecordCount(namespace string) int { return len(w.namespaces[namespace].records) }
