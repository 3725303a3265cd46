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

// query is what a request asks for. What it does not say is empty.
type query struct {
	namespace, name, host string
	critical              *bool
}

// read takes the request's path and parameters strictly: what is not understood would
// otherwise be an answer to another question.
func (route route) read(r *http.Request) (query, error) {
	q := query{namespace: r.PathValue("namespace"), name: r.PathValue("name")}
	if q.namespace+q.name != "" && (validNamespace(q.namespace) != nil || len(validation.IsDNS1123Label(q.name)) > 0) {
		return query{}, problemf(http.StatusNotFound, "%s/%s cannot be namespace and name of a Service", quoted(q.namespace), quoted(q.name))
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, problemf(http.StatusBadRequest, "the query cannot be read: write a %%, a + or a ; in a value as %%25, %%2B or %%3B")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(route.parameters, name) {
			return query{}, problemf(http.StatusBadRequest, "there is no parameter %s here%s", quoted(name), route.others())
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

func (route route) others() string {
	if len(route.parameters) == 0 {
		return ", nor any other"
	}
	return ": there is " + strings.Join(route.parameters, " and ")
}

// set takes the value of a parameter.
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

// hostOf reads a host as a browser's location has it: in any case, with a port or not.
func hostOf(value string) (string, error) {
	host := value
	if h, port, err := net.SplitHostPort(value); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			host = h
		}
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if len(validation.IsDNS1123Subdomain(host)) > 0 && net.ParseIP(host) == nil {
		return "", fmt.Errorf("%s is no host: give one as it is in a URL, such as shop.example", quoted(value))
	}
	return host, nil
}

// key tells queries apart whose answers differ.
func (q query) key(pattern string) string {
	critical := ""
	if q.critical != nil {
		critical = strconv.FormatBool(*q.critical)
	}
	return strings.Join([]string{pattern, q.namespace, q.name, q.host, critical}, " ") // none of them has a blank
}
