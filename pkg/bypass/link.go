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

// LinkKey is the parameter of the query that makes any address of a target a link:
// alone it asks for the token, with the value "off" it takes the cookie away.
const LinkKey = "maintenance-bypass"

// link answers a request to a link; false if it is none.
func (s *Server) link(w http.ResponseWriter, r *http.Request) bool {
	if s.Settings.BypassSecret == "" || !strings.Contains(r.URL.RawQuery, LinkKey) {
		return false
	}
	asked, rest := cutLink(r.URL.RawQuery)
	switch {
	case asked == linkOff && (reads(r) || r.Method == http.MethodPost):
		s.forget(w, rest)
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

// cutLink takes the link's parameter out of a query, and leaves the rest to the byte.
// Some programs write a parameter without a value with "=".
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

// exchange gives a cookie for a token: to the page's script, which sends it as a
// header, or to its form.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, rest string) {
	if !sameOrigin(r) {
		s.counts.refuse(whyForeign)
		s.links.show(w, r, refused)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime)) // net/http's own bounds hold else
	shown, scripted := shownToken(r)
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
		status = http.StatusNoContent // a script is not shown where a redirect leads
	}
	s.links.lead(w, status, rest)
}

// setCookie sets one for the whole host and for no script, or takes it away if its
// lifetime is negative. Only over TLS it can be secure: elsewhere no browser would
// keep it.
func setCookie(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	cookie := http.Cookie{ //nolint:gosec // see above
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime.Seconds()),
		Secure: access.IsSecureCookie(name), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	w.Header().Add("Set-Cookie", cookie.String())
}

// forget takes both cookies away. Each goes only with the attributes it came with.
func (s *Server) forget(w http.ResponseWriter, rest string) {
	const gone = -time.Second
	setCookie(w, access.CookieName(s.Settings.BypassSecret), "", gone)
	setCookie(w, access.SecureCookieName(s.Settings.BypassSecret), "", gone)
	s.links.lead(w, http.StatusSeeOther, rest)
}

// Bounds of the content that is read for a token.
const (
	maxForm  = 4 << 10 // bytes
	formTime = 10 * time.Second
)

// shownToken is what a POST to a link shows; scripted if by header.
func shownToken(r *http.Request) (token string, scripted bool) {
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

// sameOrigin says whether a page of this host sent the request. Browsers let no script
// set either header; an ingress controller that rewrites Host leaves Sec-Fetch-Site.
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

// lead sends the browser on to the page that was asked for. What is relative to the
// address without its path leads to no other host, whatever the path looks like.
func (l *linkPage) lead(w http.ResponseWriter, status int, rest string) {
	h := w.Header()
	l.common(h)
	h.Set("Location", "?"+rest)
	if status != http.StatusNoContent {
		// Without a fragment of its own a redirect keeps the one before, which is the
		// token (https://fetch.spec.whatwg.org/#http-redirect-fetch).
		h.Set("Location", "?"+rest+"#")
		h.Set("Content-Length", strconv.Itoa(0))
	}
	w.WriteHeader(status)
}
