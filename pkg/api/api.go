// Package api answers front ends, status pages and apps over HTTP: which services can
// serve, and what is in maintenance. It only reads, and only what it is given.
package api

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Services is asked which services are checked.
type Services interface {
	// Services lists them in any order. One that several checkers name may be there as
	// often as it is named. known is false until the checkers have been read.
	Services() (all []Service, known bool)
}

// Service is what a checker knows of a Service that it names.
type Service struct {
	Namespace, Name string
	// Known says whether it could be judged. If not, Ready says nothing.
	Known, Ready, Critical bool
	// ReadyEndpoints is how many endpoints are ready.
	ReadyEndpoints int
	// Since is when it became what it is; zero if that is not known.
	Since time.Time
	// Message says in a sentence why it is not ready; empty if there is nothing to say.
	Message string
}

// Maintenance is asked what is in maintenance.
type Maintenance interface {
	// Rows lists it in any order; nobody may change what it gives. known is false until
	// it has been read.
	Rows() (all []Row, known bool)
}

// Row is a target in maintenance.
type Row struct {
	Kind, Namespace, Name string
	// Hosts that the target serves: a name, a wildcard as *.example, an expression after
	// a ~, or * for any host. Nil is not known yet; empty is none of its own.
	Hosts        []string
	State        string
	Since, Until time.Time // zero if there is none
	Reason, Page string
}

// Config is what the API stands on.
type Config struct {
	Services    Services // nil where nothing is checked: there are none then
	Maintenance Maintenance
	// Namespaces that are told of; all if empty.
	Namespaces []string
	// Origins whose scripts may read the answers in a browser, such as
	// https://shop.example; * is any. None if empty.
	Origins []string
}

// API is the handler of the whole API.
type API struct {
	config Config
	routes *http.ServeMux
	made   *replies
}

// New makes the handler.
func New(c Config) *API {
	a := &API{config: c, routes: http.NewServeMux(), made: newReplies()}
	for path, r := range map[string]route{
		"/services":                    {[]string{"namespace", "critical"}, a.services},
		"/services/{namespace}/{name}": {nil, a.service},
		"/status":                      {[]string{"namespace"}, a.status},
		"/maintenance":                 {[]string{"namespace", "host"}, a.maintenance},
		"/healthz":                     {nil, a.healthz},
	} {
		a.routes.Handle(path, a.reads(r))
	}
	a.routes.HandleFunc("/", nowhere)
	return a
}

// route is something that can be asked for.
type route struct {
	parameters []string
	answer     func(query) (answer, error)
}

// answer is what is said in answer to a question that could be answered.
type answer struct {
	status int
	value  any // becomes JSON
}

// Ready says whether all that is asked for is known.
func (a *API) Ready() bool {
	_, err := a.healthz(query{})
	return err == nil
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	a.allowOrigin(h, r.Header.Get("Origin"))
	switch {
	case r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "":
		preflight(w, r)
	case r.URL.Path != path.Clean(r.URL.Path): // ServeMux would send the client elsewhere
		nowhere(w, r)
	default:
		a.routes.ServeHTTP(w, r)
	}
}

// reads answers a route to those who only read.
func (a *API) reads(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodOptions:
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
			return
		default:
			w.Header().Set("Allow", allow)
			refuse(w, r, problemf(http.StatusMethodNotAllowed, "this API is read with GET or HEAD, not with %s", quoted(r.Method)))
			return
		}
		q, err := route.read(r)
		if err == nil && !a.tells(q.namespace) {
			err = problemf(http.StatusForbidden, "this API does not tell of namespace %s", quoted(q.namespace))
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		a.made.serve(w, r, q.key(r.Pattern), func() (answer, error) { return route.answer(q) })
	})
}

const allow = "GET, HEAD, OPTIONS"

// tells says whether the API tells of a namespace; empty is all that it tells of.
func (a *API) tells(namespace string) bool {
	return namespace == "" || len(a.config.Namespaces) == 0 || slices.Contains(a.config.Namespaces, namespace)
}

func (a *API) healthz(query) (answer, error) {
	if _, err := a.checked(); err != nil {
		return answer{}, err
	}
	if _, known := a.config.Maintenance.Rows(); !known {
		return answer{}, errStarting
	}
	return answer{http.StatusOK, map[string]string{"status": "ok"}}, nil
}

func nowhere(w http.ResponseWriter, r *http.Request) {
	refuse(w, r, problemf(http.StatusNotFound, "there is /services, /services/NAMESPACE/NAME, /status, /maintenance and /healthz, and no %s", quoted(r.URL.Path)))
}

// validNamespace says why a name cannot be that of a namespace.
func validNamespace(name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("%s is no name of a namespace", quoted(name))
	}
	return nil
}
