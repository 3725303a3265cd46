package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// targetView is the JSON of a target in maintenance.
type targetView struct {
	Kind      string     `json:"kind"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Hosts     []string   `json:"hosts"` // null: not known yet
	State     string     `json:"state"`
	Since     *time.Time `json:"since"`
	Until     *time.Time `json:"until"`
	Reason    string     `json:"reason"`
	Page      string     `json:"page"`
}

// maintenance lists the targets in maintenance, and for a host those that serve it or may serve it.
func (a *API) maintenance(q query) (answer, error) {
	all, known := a.config.Maintenance.Rows()
	if !known {
		return answer{}, errStarting
	}
	list := []targetView{}
	for _, r := range all {
		switch {
		case !a.covers(r.Namespace), q.namespace != "" && r.Namespace != q.namespace:
		case q.host == "", r.Hosts == nil, // unread hosts may include it
			slices.ContainsFunc(r.Hosts, func(h string) bool { return serves(h, q.host) }):
			list = append(list, targetView{
				Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Hosts: r.Hosts, State: r.State,
				Since: timestamp(r.Since), Until: timestamp(r.Until), Reason: r.Reason, Page: r.Page,
			})
		}
	}
	slices.SortFunc(list, func(a, b targetView) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return answer{http.StatusOK, list}, nil
}

// serves reports whether a host of a row is, or may be, the given one. A wildcard covers any number
// of labels, as in the Gateway API; an expression may match anything.
func serves(of, host string) bool {
	switch {
	case of == "*", strings.HasPrefix(of, "~"):
		return true
	case strings.HasPrefix(of, "*."):
		return strings.HasSuffix(host, of[1:]) && len(host) > len(of)-1
	}
	return of == host
}
