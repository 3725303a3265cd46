package target

import (
	"slices"
	"strings"
)

// acmePath begins what a certificate authority asks for (RFC 8555 8.3).
const acmePath = "/.well-known/acme-challenge"

// solvers are Services of ACME clients, which answer the certificate authority: in
// their place a page would let certificates expire. A name may end in * for any that
// begins so.
type solvers []string

// withSolvers adds to those of cert-manager.
func withSolvers(names []string) solvers { return append(solvers{"cm-acme-http-solver-*"}, names...) }

func (s solvers) has(service string) bool {
	return slices.ContainsFunc(s, func(name string) bool {
		prefix, isPrefix := strings.CutSuffix(name, "*")
		return service == name || isPrefix && strings.HasPrefix(service, prefix)
	})
}

// answer says whether a path to this Service is a solver's.
func (s solvers) answer(path, service string) bool {
	return (path == acmePath || strings.HasPrefix(path, acmePath+"/")) && s.has(service)
}

// all says whether each of a route's services is a solver.
func (s solvers) all(services []map[string]any) bool {
	return !slices.ContainsFunc(services, func(service map[string]any) bool {
		name, _ := service["name"].(string)
		return !s.has(name)
	})
}
