package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/pkg/metrics"
)

// family is a metric with all its series.
type family struct{ name, kind, help, labels string }

// controllerMetrics are those that a leading controller answers a scrape with, but for
// those that Go's runtime has in every program.
func controllerMetrics() []string {
	m := metrics.New()
	m.Observe("target", "ok", time.Second)
	m.StatusWritten()
	m.SetLeading(func() metrics.Snapshot {
		one := map[string]int{"x": 1}
		return metrics.Snapshot{Targets: map[metrics.TargetLabels]int{{}: 1}, Unrestored: one, Queued: one, Bypass: one}
	})
	m.RegisterChecks(func() metrics.Checks {
		return metrics.Checks{Checkers: map[string]int{"x": 1}, Services: map[metrics.CheckedLabels]int{{}: 1}}
	})
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(context.Background(), "GET", "/metrics", nil))
	text := answer.Body.String()
	var all []family
	for _, help := range regexp.MustCompile(`(?m)^# HELP (maintenance_\w+) (.*)\n# TYPE \w+ (\w+)\n\w+(?:\{(.*)\})?`).FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(help[4], -1) {
			if label[1] != "le" {
				labels = append(labels, label[1])
			}
		}
		all = append(all, family{name: help[1], help: help[2], kind: help[3], labels: strings.Join(labels, ",")})
	}
	return table(all)
}

// pageMetrics are those of page Pods. Their program writes the text format by hand, so
// they are read from its source.
func pageMetrics() ([]string, error) {
	root, err := binaries.Root()
	if err != nil {
		return nil, err
	}
	all := []family{{name: "maintenance_page_requests_total", kind: "counter", labels: "method,format,status", help: "Requests answered."}}
	for _, file := range []string{"pkg/pageapp/metrics.go", "pkg/bypass/counts.go"} {
		text, err := os.ReadFile(root + "/" + file)
		if err != nil {
			return nil, fmt.Errorf("read the metrics of page Pods: %w", err)
		}
		for _, call := range regexp.MustCompile(`\bmetric\("(\w+)", "(\w+)", "([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			f := family{name: call[1], kind: call[2], help: call[3]}
			if sample := regexp.MustCompile(f.name + `\{([^}]*)\}`).FindStringSubmatch(string(text)); sample != nil {
				var labels []string
				for _, label := range regexp.MustCompile(`(\w+)=`).FindAllStringSubmatch(sample[1], -1) {
					labels = append(labels, label[1])
				}
				f.labels = strings.Join(labels, ",")
			}
			all = append(all, f)
		}
	}
	return table(all), nil
}

func table(all []family) []string {
	slices.SortFunc(all, func(a, b family) int { return strings.Compare(a.name, b.name) })
	lines := []string{"| metric | type | meaning |", "|---|---|---|"}
	for _, f := range all {
		name := f.name
		if f.labels != "" {
			name += "{" + f.labels + "}"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", name, f.kind, f.help))
	}
	return lines
}
