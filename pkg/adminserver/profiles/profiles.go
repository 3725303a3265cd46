// Package profiles serves the profiles of net/http/pprof. It is apart from its
// neighbour, which programs that have to stay small use as well.
package profiles

import (
	"net"
	"net/http"
	"net/http/pprof"
)

// Routes of /debug/pprof/. Profiles tell much: serve them on the loopback alone.
func Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // and every profile by its name
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Loopback says whether an address is one that only the machine, or the Pod, itself
// reaches.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
