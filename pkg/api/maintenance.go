package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// toldRow is a target in maintenance as it is told.
type toldRow struct {
	Kind      string     `json:"kind"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Hosts     []string   `json:"hosts"` // null is not known yet
	State     string     `json:"state"`
	Since     *time.Time `json:"since"`
	Until     *time.Time `json:"until"`
	Reason    string     `json:"reason"`
	Page      string     `json:"page"`
}

// maintenance lists what is in maintenance, and for a host what serves it or may.
func (a *API) maintenance(q query) (answer, error) {
	all, known := a.config.Maintenance.Rows()
	if !known {
		return answer{}, errStarting
	}
	list := []toldRow{}
	for _, r := range all {
		switch {
		case !a.tells(r.Namespace), q.namespace != "" && r.Namespace != q.namespace:
		case q.host == "", r.Hosts == nil, // which may be the one
			slices.ContainsFunc(r.Hosts, func(h string) bool { return serves(h, q.host) }):
			list = append(list, toldRow{
				Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Hosts: r.Hosts, State: r.State,
				Since: instant(r.Since), Until: instant(r.Until), Reason: r.Reason, Page: r.Page,
			})
		}
	}
	slices.SortFunc(list, func(a, b toldRow) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return answer{http.StatusOK, list}, nil
}

// serves says whether one of a row's hosts is, or may be, this one. A wildcard stands
// for one label or several, as the Gateway API has it; nobody can tell of an expression.
func serves(of, host string) bool {
	switch {
	case of == "*", strings.HasPrefix(of, "~"):
		return true
	case strings.HasPrefix(of, "*."):
		return strings.HasSuffix(host, of[1:]) && len(host) > len(of)-1
	}
	return of == host
}
