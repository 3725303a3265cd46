package faultproxy

import (
	"net/http"
	"strings"
)

// Call is a request to the API server, as its path and query name it (see
// https://kubernetes.io/docs/reference/using-api/api-concepts).
type Call struct {
	// Verb is get, list, watch, create, update, patch or delete.
	Verb string
	// Namespace, Resource and Name are empty if the path has none. Discovery has no resource.
	Namespace, Resource, Name string
	// Resumes says that a watch starts at a revision, not with a list of everything.
	Resumes bool
}

// String is the verb and the resource.
func (c Call) String() string { return c.Verb + " " + c.Resource }

// Writes says whether the call changes something.
func (c Call) Writes() bool {
	switch c.Verb {
	case "get", "list", "watch":
		return false
	}
	return true
}

// ChangesObjects says whether the call changes an object that matters: not a Lease,
// which is renewed all the time, and not an Event.
func (c Call) ChangesObjects() bool {
	return c.Writes() && c.Resource != "leases" && c.Resource != "events"
}

// Discovery says whether the call asks which kinds the API server serves.
func (c Call) Discovery() bool { return c.Resource == "" }

// CallOf reads the call from a request.
func CallOf(r *http.Request) Call {
	var c Call
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch { // /api/v1/… or /apis/<group>/<version>/…
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		parts = nil
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		c.Namespace, parts = parts[1], parts[2:]
	}
	if len(parts) > 0 {
		c.Resource = parts[0]
	}
	if len(parts) > 1 {
		c.Name = parts[1]
	}
	c.Verb = verbOf(r, c.Name)
	q := r.URL.Query()
	c.Resumes = c.Verb == "watch" && q.Get("resourceVersion") != "" && q.Get("sendInitialEvents") != "true"
	return c
}

func verbOf(r *http.Request, name string) string {
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	switch q := r.URL.Query(); {
	case q.Get("watch") == "true" || q.Get("watch") == "1":
		return "watch"
	case name == "":
		return "list"
	}
	return "get"
}
