// Package profiles serves the profiles of net/http/pprof. It is separate from package adminserver,
// which programs that must stay small use as well.
package profiles

import (
	"net"
	"net/http"
	"net/http/pprof"
)

// Routes returns the handler of /debug/pprof/. Profiles reveal much: serve them on the loopback
// only.
func Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // and every profile by name
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Loopback reports whether an address can only be reached from the machine, or the Pod, itself.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
