// Package api serves the HTTP API for front ends, status pages and apps: which services can serve,
// and what is in maintenance. It only reads, and sends no requests itself.
package api

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Services provides the services that are checked.
type Services interface {
	// Services lists them in any order. A Service that several checkers name may appear several
	// times. known is false until all checkers have been read.
	Services() (all []Service, known bool)
}

// Service is the state of a Service that a checker names.
type Service struct {
	Namespace, Name string
	// Known is true if it can be judged now. Otherwise Ready means nothing.
	Known, Ready, Critical bool
	// ReadyEndpoints is the number of ready endpoints.
	ReadyEndpoints int
	// Since is when Ready last changed; zero if that is not known.
	Since time.Time
	// Message says why it is not ready; empty if there is nothing to report.
	Message string
}

// Maintenance provides the targets in maintenance.
type Maintenance interface {
	// Rows lists them in any order. The caller must not change the rows. known is false until all
	// targets have been read.
	Rows() (all []Row, known bool)
}

// Row is a target in maintenance.
type Row struct {
	Kind, Namespace, Name string
	// Hosts that the target serves: a name, a wildcard such as *.example, an expression after a ~,
	// or * for any host. Nil means not known yet; empty means none of its own.
	Hosts        []string
	State        string    // as in annotation maintenance/state
	Since, Until time.Time // zero if there is none
	Reason, Page string    // empty if there is none; the name of the page, default for the default page
}

// Config configures the API.
type Config struct {
	Services    Services    // nil if no services are checked: the lists are empty then
	Maintenance Maintenance // required
	// Namespaces that the API covers; empty means all.
	Namespaces []string
	// Origins whose scripts may read the answers in a browser, such as https://shop.example; * means
	// any. Empty means none.
	Origins []string
}

// API is the handler of the whole HTTP API.
type API struct {
	config  Config
	routes  *http.ServeMux
	replies *replyCache
}

// New returns the handler.
func New(c Config) *API {
	a := &API{config: c, routes: http.NewServeMux(), replies: newReplyCache()}
	for path, r := range map[string]route{
		"/services":                    {[]string{"namespace", "critical"}, a.services},
		"/services/{namespace}/{name}": {nil, a.service},
		"/status":                      {[]string{"namespace"}, a.status},
		"/maintenance":                 {[]string{"namespace", "host"}, a.maintenance},
		"/healthz":                     {nil, a.healthz},
	} {
		a.routes.Handle(path, a.handle(r))
	}
	a.routes.HandleFunc("/", notFound)
	return a
}

// route is a path of the API with the parameters that it takes.
type route struct {
	parameters []string
	answer     func(query) (answer, error)
}

// answer is a successful response.
type answer struct {
	status int
	value  any // encoded as JSON
}

// Ready reports whether everything that the API serves has been read.
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
	case r.URL.Path != path.Clean(r.URL.Path): // ServeMux would redirect the client
		notFound(w, r)
	default:
		a.routes.ServeHTTP(w, r)
	}
}

// handle returns the handler of a route, which only allows reading.
func (a *API) handle(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodOptions:
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
			return
		default:
			w.Header().Set("Allow", allow)
			writeProblem(w, r, problemf(http.StatusMethodNotAllowed, "method %s is not allowed: use GET or HEAD", quoted(r.Method)))
			return
		}
		q, err := route.read(r)
		if err == nil && !a.covers(q.namespace) {
			err = problemf(http.StatusForbidden, "this API does not serve namespace %s", quoted(q.namespace))
		}
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		a.replies.serve(w, r, q.key(r.Pattern), func() (answer, error) { return route.answer(q) })
	})
}

const allow = "GET, HEAD, OPTIONS"

// covers reports whether the API serves a namespace; the empty name stands for all that it covers.
func (a *API) covers(namespace string) bool {
	return namespace == "" || len(a.config.Namespaces) == 0 || slices.Contains(a.config.Namespaces, namespace)
}

func (a *API) healthz(query) (answer, error) {
	if _, err := a.coveredServices(); err != nil {
		return answer{}, err
	}
	if _, known := a.config.Maintenance.Rows(); !known {
		return answer{}, errStarting
	}
	return answer{http.StatusOK, map[string]string{"status": "ok"}}, nil
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, problemf(http.StatusNotFound, "there is no %s: use /services, /services/NAMESPACE/NAME, /status, /maintenance or /healthz", quoted(r.URL.Path)))
}

// validNamespace returns an error if a name cannot be a namespace's.
func validNamespace(name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("%s is not the name of a namespace", quoted(name))
	}
	return nil
}
