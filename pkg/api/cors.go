package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// allowOrigin lets scripts of a page of that origin read the answer, whatever it says,
// if the origin is one of those that may. The answers differ by no cookie, so that
// credentials are never asked for.
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

// preflight answers a browser that asks whether a script may ask.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") == "" {
		refuse(w, r, problemf(http.StatusForbidden, "origin %s is not among those that may ask (--api-cors-origins)", quoted(r.Header.Get("Origin"))))
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Accept, Cache-Control, Content-Type, If-None-Match")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// CheckOrigin says why a text cannot be one of Config.Origins.
func CheckOrigin(text string) error {
	if text == "*" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || text != u.Scheme+"://"+u.Host || text != strings.ToLower(text) || strings.Contains(text, "*") {
		return fmt.Errorf("%q is no origin: it is as a browser sends it, such as https://shop.example or http://localhost:3000, or * for any", text)
	}
	return nil
}
