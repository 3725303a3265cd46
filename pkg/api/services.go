package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// told is a Service as it is told.
type told struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Ready     *bool  `json:"ready"` // null is not known
	Critical  bool   `json:"critical"`
}

// toldMore is a Service that was asked for by its name.
type toldMore struct {
	told
	ReadyEndpoints int        `json:"readyEndpoints"`
	Since          *time.Time `json:"since"`
	Message        string     `json:"message"`
}

// overall is how all services are.
type overall struct {
	Status   string `json:"status"`
	Services counts `json:"services"`
	NotReady []told `json:"notReady"`
}

type counts struct {
	Total         int `json:"total"`
	Ready         int `json:"ready"`
	Critical      int `json:"critical"`
	CriticalReady int `json:"criticalReady"`
}

func (s Service) told() told {
	t := told{Name: s.Name, Namespace: s.Namespace, Critical: s.Critical}
	if s.Known {
		t.Ready = &s.Ready
	}
	return t
}

// checked lists the services that are told of, each once and in order.
func (a *API) checked() ([]Service, error) {
	if a.config.Services == nil {
		return nil, nil
	}
	all, known := a.config.Services.Services()
	if !known {
		return nil, errStarting
	}
	var mine []Service
	for _, s := range all {
		if a.tells(s.Namespace) {
			mine = append(mine, s)
		}
	}
	return once(mine), nil
}

// once puts services in order, and makes one of those that several checkers name.
func once(all []Service) []Service {
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

// rank puts first what counts where checkers differ, which may ask for other ports and
// other numbers of endpoints: not ready for one is not ready, and unknown to one is
// not ready for sure.
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
	all, err := a.checked()
	list := []told{}
	for _, s := range all {
		if (q.namespace == "" || s.Namespace == q.namespace) && (q.critical == nil || s.Critical == *q.critical) {
			list = append(list, s.told())
		}
	}
	return answer{http.StatusOK, list}, err
}

func (a *API) service(q query) (answer, error) {
	all, err := a.checked()
	if err != nil {
		return answer{}, err
	}
	for _, s := range all {
		if s.Namespace != q.namespace || s.Name != q.name {
			continue
		}
		if !s.Known {
			return answer{}, later("whether Service %s/%s is ready is not known: %s", s.Namespace, s.Name, cmp.Or(s.Message, "it has not been read yet"))
		}
		return answer{http.StatusOK, toldMore{told: s.told(), ReadyEndpoints: s.ReadyEndpoints, Since: instant(s.Since), Message: s.Message}}, nil
	}
	return answer{}, problemf(http.StatusNotFound, "no checker names a Service %s/%s", q.namespace, q.name)
}

// status is 503 while a critical service is not ready. What is not known of one is told
// as what it is: the status is not known.
func (a *API) status(q query) (answer, error) {
	all, err := a.checked()
	if err != nil {
		return answer{}, err
	}
	o := overall{Status: "up", NotReady: []told{}}
	down, unknown := false, ""
	for _, s := range all {
		if q.namespace != "" && s.Namespace != q.namespace {
			continue
		}
		o.Services.add(s)
		if !s.ready() {
			o.Status = "degraded"
			o.NotReady = append(o.NotReady, s.told())
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
		return answer{}, later("whether critical Service %s is ready is not known", unknown)
	}
	return answer{http.StatusOK, o}, nil
}

// ready says whether it is known to be.
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

// instant is a time as it is told; null if there is none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}
