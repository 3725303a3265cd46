package target

import (
	"slices"
	"strings"
)

// acmePath is the beginning of what a certificate authority requests (RFC 8555 8.3).
const acmePath = "/.well-known/acme-challenge"

// solvers are Services of ACME clients, which answer the certificate authority: a page in
// their place would let certificates expire. A name that ends in * stands for all names
// with that beginning.
type solvers []string

// acmeSolvers adds to cert-manager's solvers.
func acmeSolvers(names []string) solvers { return append(solvers{"cm-acme-http-solver-*"}, names...) }

func (s solvers) has(service string) bool {
	return slices.ContainsFunc(s, func(name string) bool {
		prefix, isPrefix := strings.CutSuffix(name, "*")
		return service == name || isPrefix && strings.HasPrefix(service, prefix)
	})
}

// isSolverPath says whether a path to this Service is a solver's.
func (s solvers) isSolverPath(path, service string) bool {
	return (path == acmePath || strings.HasPrefix(path, acmePath+"/")) && s.has(service)
}

// areAll says whether each of a route's services is a solver.
func (s solvers) areAll(services []map[string]any) bool {
	return !slices.ContainsFunc(services, func(service map[string]any) bool {
		name, _ := service["name"].(string)
		return !s.has(name)
	})
}
