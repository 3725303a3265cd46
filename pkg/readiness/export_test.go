package readiness

// Asked counts the Services of a namespace whose time is kept.
func (w *Watcher) Asked(namespace string) int { return len(w.namespaces[namespace].asked) }
