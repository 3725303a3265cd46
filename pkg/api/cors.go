package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// allowOrigin lets scripts of an allowed origin read the answer, including errors. Credentials are
// never allowed, because answers do not depend on cookies.
func (a *API) allowOrigin(h http.Header, origin string) {
	if len(a.config.Origins) == 0 {
		return
	}
	anybody := slices.Contains(a.config.Origins, "*")
	if !anybody {
		h.Set("Vary", "Origin")
	}
	switch {
	case origin == "":
		return
	case anybody:
		origin = "*"
	case !slices.Contains(a.config.Origins, origin):
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "ETag, Retry-After")
}

// preflight answers a browser that asks whether a script may send a request.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") == "" {
		writeProblem(w, r, problemf(http.StatusForbidden, "origin %s is not allowed (--api-cors-origins)", quoted(r.Header.Get("Origin"))))
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Accept, Cache-Control, Content-Type, If-None-Match")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// CheckOrigin returns an error if a text cannot be one of Config.Origins.
func CheckOrigin(text string) error {
	if text == "*" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || text != u.Scheme+"://"+u.Host || text != strings.ToLower(text) || strings.Contains(text, "*") {
		return fmt.Errorf("%q is not an origin: write it as a browser sends it, such as https://shop.example or http://localhost:3000, or * for any", text)
	}
	return nil
}
