package bypass

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"maintenance-controller.io/pkg/access"
)

// LinkKey is the query parameter that makes any address of a target a link: without a value
// it asks for the token, with the value "off" it removes the cookie.
const LinkKey = "maintenance-bypass"

// link answers a request to a link, and returns false if it is not one.
func (s *Server) link(w http.ResponseWriter, r *http.Request) bool {
	if s.Settings.BypassSecret == "" || !strings.Contains(r.URL.RawQuery, LinkKey) {
		return false
	}
	asked, rest := cutLink(r.URL.RawQuery)
	switch {
	case asked == linkOff && (reads(r) || r.Method == http.MethodPost):
		s.removeCookies(w, rest)
	case asked == linkOn && reads(r):
		s.links.show(w, r, asking)
	case asked == linkOn && r.Method == http.MethodPost:
		s.exchange(w, r, rest)
	default:
		return false
	}
	return true
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

type linkWord uint8

const (
	noLink linkWord = iota
	linkOn
	linkOff
)

// cutLink removes the link's parameter from a query, and leaves the rest unchanged to the
// byte. Some programs write a parameter without a value with a "=".
func cutLink(query string) (asked linkWord, rest string) {
	var kept []string
	for parameter := range strings.SplitSeq(query, "&") {
		switch parameter {
		case LinkKey, LinkKey + "=":
			asked = max(asked, linkOn)
		case LinkKey + "=off":
			asked = linkOff
		default:
			kept = append(kept, parameter)
		}
	}
	return asked, strings.Join(kept, "&")
}

// exchange sets a cookie in exchange for a token, which the page's script sends in a header
// and its form in the content.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, rest string) {
	if !sameOrigin(r) {
		s.counts.refuse(whyForeign)
		s.links.show(w, r, refused)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout)) // otherwise net/http's bounds apply
	shown, scripted := tokenIn(r)
	tokens := s.holders.Load().tokens
	token, ok := tokens.Find(shown)
	if !ok {
		s.counts.refuse(access.WrongToken)
		s.links.show(w, r, refused)
		return
	}
	s.counts.cookies.Add(1)
	name := access.CookieName(s.Settings.BypassSecret)
	if strings.HasPrefix(r.Header.Get("Origin"), "https://") {
		name = access.SecureCookieName(s.Settings.BypassSecret)
	}
	setCookie(w, name, tokens.Seal(token, r.Host, s.Now().Add(s.Lifetime)), s.Lifetime)
	status := http.StatusSeeOther
	if scripted {
		status = http.StatusNoContent // browsers hide from scripts where a redirect leads
	}
	s.links.redirect(w, status, rest)
}

// setCookie sets a cookie for the whole host that no script can read, or removes it if the
// lifetime is negative. It is secure only over TLS: browsers would not keep it otherwise.
func setCookie(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	cookie := http.Cookie{ //nolint:gosec // see above
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime.Seconds()),
		Secure: access.IsSecureCookie(name), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	w.Header().Add("Set-Cookie", cookie.String())
}

// removeCookies removes both cookies. Browsers remove a cookie only if it has the attributes
// that it was set with.
func (s *Server) removeCookies(w http.ResponseWriter, rest string) {
	const expired = -time.Second
	setCookie(w, access.CookieName(s.Settings.BypassSecret), "", expired)
	setCookie(w, access.SecureCookieName(s.Settings.BypassSecret), "", expired)
	s.links.redirect(w, http.StatusSeeOther, rest)
}

// Bounds of the content in which a form sends a token.
const (
	maxForm     = 4 << 10          // bytes; the rest is ignored
	formTimeout = 10 * time.Second // for reading it
)

// tokenIn returns the token in a POST to a link; scripted says that it was in the header.
func tokenIn(r *http.Request) (token string, scripted bool) {
	if values := r.Header[access.Header]; len(values) > 0 {
		return values[0], true
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", false
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
	if err != nil {
		return "", false
	}
	values, err := url.ParseQuery(string(raw))
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(values.Get("token")), false
}

// sameOrigin says whether a page of this host sent the request. Browsers do not let scripts
// set these headers. An ingress controller that rewrites Host leaves Sec-Fetch-Site alone.
func sameOrigin(r *http.Request) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		return len(site) == 1 && site[0] == "same-origin"
	}
	origin := r.Header["Origin"]
	if len(origin) != 1 {
		return false
	}
	scheme, host, found := strings.Cut(origin[0], "://")
	return found && (scheme == "https" || scheme == "http") && host != "" && withPort(scheme, host) == withPort(scheme, r.Host)
}

func withPort(scheme, host string) string {
	name := strings.ToLower(host)
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	return strings.TrimSuffix(name, port)
}

// redirect sends the browser to the address without the link's parameter. A relative
// reference that is only a query cannot lead to another host, whatever the path looks like.
func (l *linkPage) redirect(w http.ResponseWriter, status int, rest string) {
	h := w.Header()
	l.common(h)
	h.Set("Location", "?"+rest)
	if status != http.StatusNoContent {
		// A redirect without a fragment keeps the previous one, which is the token
		// (https://fetch.spec.whatwg.org/#http-redirect-fetch).
		h.Set("Location", "?"+rest+"#")
		h.Set("Content-Length", strconv.Itoa(0))
	}
	w.WriteHeader(status)
}
