package api

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// query holds the parameters of a request. Absent ones are empty.
type query struct {
	namespace, name, host string
	critical              *bool
}

// read parses the request's path and parameters strictly: ignoring a parameter would answer another
// question.
func (route route) read(r *http.Request) (query, error) {
	q := query{namespace: r.PathValue("namespace"), name: r.PathValue("name")}
	if q.namespace+q.name != "" && (validNamespace(q.namespace) != nil || len(validation.IsDNS1123Label(q.name)) > 0) {
		return query{}, problemf(http.StatusNotFound, "%s/%s is not a valid namespace and name of a Service", quoted(q.namespace), quoted(q.name))
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, problemf(http.StatusBadRequest, "the query cannot be parsed: write %%, + and ; in a value as %%25, %%2B and %%3B")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(route.parameters, name) {
			return query{}, problemf(http.StatusBadRequest, "unknown parameter %s: %s", quoted(name), route.allowed())
		}
		if len(values[name]) > 1 {
			return query{}, problemf(http.StatusBadRequest, "parameter %s is given %d times: give it once", name, len(values[name]))
		}
		if err := q.set(name, values.Get(name)); err != nil {
			return query{}, problemf(http.StatusBadRequest, "parameter %s: %v", name, err)
		}
	}
	return q, nil
}

func (route route) allowed() string {
	if len(route.parameters) == 0 {
		return "this path takes none"
	}
	return "this path takes " + strings.Join(route.parameters, " and ")
}

// set parses the value of a parameter.
func (q *query) set(name, value string) (err error) {
	switch name {
	case "namespace":
		q.namespace, err = value, validNamespace(value)
	case "critical":
		if value != "true" && value != "false" {
			return fmt.Errorf("%s is neither true nor false", quoted(value))
		}
		q.critical = new(bool)
		*q.critical = value == "true"
	case "host":
		q.host, err = hostOf(value)
	}
	return err
}

// hostOf parses a host as it appears in a browser's location: in any case, with or without a port.
func hostOf(value string) (string, error) {
	host := value
	if h, port, err := net.SplitHostPort(value); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			host = h
		}
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if len(validation.IsDNS1123Subdomain(host)) > 0 && net.ParseIP(host) == nil {
		return "", fmt.Errorf("%s is not a host: write it as in a URL, such as shop.example", quoted(value))
	}
	return host, nil
}

// key identifies queries that have the same answer.
func (q query) key(pattern string) string {
	critical := ""
	if q.critical != nil {
		critical = strconv.FormatBool(*q.critical)
	}
	return strings.Join([]string{pattern, q.namespace, q.name, q.host, critical}, " ") // none of them contains a blank
}
