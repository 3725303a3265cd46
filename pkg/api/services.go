package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// serviceView is the JSON of a Service in a list.
type serviceView struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Ready     *bool  `json:"ready"` // null: not known
	Critical  bool   `json:"critical"`
}

// serviceDetail is the JSON of a single Service.
type serviceDetail struct {
	serviceView
	ReadyEndpoints int        `json:"readyEndpoints"`
	Since          *time.Time `json:"since"`
	Message        string     `json:"message"`
}

// statusView is the JSON of /status.
type statusView struct {
	Status   string        `json:"status"`
	Services counts        `json:"services"`
	NotReady []serviceView `json:"notReady"`
}

type counts struct {
	Total         int `json:"total"`
	Ready         int `json:"ready"`
	Critical      int `json:"critical"`
	CriticalReady int `json:"criticalReady"`
}

func (s Service) view() serviceView {
	t := serviceView{Name: s.Name, Namespace: s.Namespace, Critical: s.Critical}
	if s.Known {
		t.Ready = &s.Ready
	}
	return t
}

// coveredServices lists the services that the API covers, each once, sorted by namespace and name.
func (a *API) coveredServices() ([]Service, error) {
	if a.config.Services == nil {
		return nil, nil
	}
	all, known := a.config.Services.Services()
	if !known {
		return nil, errStarting
	}
	var mine []Service
	for _, s := range all {
		if a.covers(s.Namespace) {
			mine = append(mine, s)
		}
	}
	return mergeDuplicates(mine), nil
}

// mergeDuplicates sorts services, and merges those that several checkers name.
func mergeDuplicates(all []Service) []Service {
	slices.SortStableFunc(all, func(a, b Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), cmp.Compare(a.rank(), b.rank()))
	})
	var each []Service
	for _, s := range all {
		if n := len(each) - 1; n >= 0 && each[n].Namespace == s.Namespace && each[n].Name == s.Name {
			each[n].Critical = each[n].Critical || s.Critical
			continue
		}
		each = append(each, s)
	}
	return each
}

// rank puts first the entry that stands for a Service if checkers differ, which they do when they
// name other ports or numbers of endpoints: not ready before unknown, and unknown before ready.
func (s Service) rank() int {
	switch {
	case s.Known && !s.Ready:
		return 0
	case !s.Known:
		return 1
	}
	return 2
}

func (a *API) services(q query) (answer, error) {
	all, err := a.coveredServices()
	list := []serviceView{}
	for _, s := range all {
		if (q.namespace == "" || s.Namespace == q.namespace) && (q.critical == nil || s.Critical == *q.critical) {
			list = append(list, s.view())
		}
	}
	return answer{http.StatusOK, list}, err
}

func (a *API) service(q query) (answer, error) {
	all, err := a.coveredServices()
	if err != nil {
		return answer{}, err
	}
	for _, s := range all {
		if s.Namespace != q.namespace || s.Name != q.name {
			continue
		}
		if !s.Known {
			return answer{}, unavailable("it is not known whether Service %s/%s is ready: %s", s.Namespace, s.Name, cmp.Or(s.Message, "it has not been read yet"))
		}
		return answer{http.StatusOK, serviceDetail{serviceView: s.view(), ReadyEndpoints: s.ReadyEndpoints, Since: timestamp(s.Since), Message: s.Message}}, nil
	}
	return answer{}, problemf(http.StatusNotFound, "no ServiceChecker names Service %s/%s", q.namespace, q.name)
}

// status answers 503 while a critical service is not ready, and also while the state of one is
// unknown.
func (a *API) status(q query) (answer, error) {
	all, err := a.coveredServices()
	if err != nil {
		return answer{}, err
	}
	o := statusView{Status: "up", NotReady: []serviceView{}}
	down, unknown := false, ""
	for _, s := range all {
		if q.namespace != "" && s.Namespace != q.namespace {
			continue
		}
		o.Services.add(s)
		if !s.ready() {
			o.Status = "degraded"
			o.NotReady = append(o.NotReady, s.view())
		}
		down = down || s.Critical && s.Known && !s.Ready
		if s.Critical && !s.Known {
			unknown = s.Namespace + "/" + s.Name
		}
	}
	switch {
	case down:
		o.Status = "down"
		return answer{http.StatusServiceUnavailable, o}, nil
	case unknown != "":
		return answer{}, unavailable("it is not known whether critical Service %s is ready", unknown)
	}
	return answer{http.StatusOK, o}, nil
}

// ready reports whether it is known to be ready.
func (s Service) ready() bool { return s.Known && s.Ready }

func (c *counts) add(s Service) {
	c.Total++
	if s.ready() {
		c.Ready++
	}
	if s.Critical {
		c.Critical++
	}
	if s.Critical && s.ready() {
		c.CriticalReady++
	}
}

// timestamp is a time as the API writes it; null if there is none.
func timestamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}
