package access

import (
	"slices"
	"strings"
	"time"
)

// Header carries a token in a request, and in a response what let the request through.
const Header = "Maintenance-Bypass"

// Values of Header in responses that carry the page although the request was allowed.
const (
	Unreachable = "app-unreachable" // the app did not answer
	Busy        = "busy"            // the page server proxies as many requests as it can
)

// By is what lets a request through: the value of Header in the response, and a label of
// metrics. Empty means that nothing does.
type By string

// What lets a request through.
const (
	ByHeader By = "header" // a token in Header
	ByCookie By = "cookie" // a cookie made from a token
	ByPath   By = "path"   // an open path
	ByMethod By = "method" // read-only, or a CORS preflight, which carries no cookie
)

// Bys lists all values of By.
func Bys() []By { return []By{ByHeader, ByCookie, ByPath, ByMethod} }

// Why is the reason why a request gets the page: a label of metrics.
type Why string

// Reasons why a request gets the page. If several apply, the first one counts.
const (
	Closed      Why = "closed"       // nothing lets it through
	WrongToken  Why = "wrong-token"  // not a token of the Secret
	WrongCookie Why = "wrong-cookie" // forged, or for another host, token or Secret
	EndedCookie Why = "ended-cookie" // expired
	OddPath     Why = "odd-path"     // only some programs read the path as an open one
	OddRequest  Why = "odd-request"  // it asks for another method, path or protocol than its first line
	Tunnel      Why = "tunnel"       // CONNECT
)

// Whys lists all values of Why.
func Whys() []Why {
	return []Why{Closed, WrongToken, WrongCookie, EndedCookie, OddPath, OddRequest, Tunnel}
}

// Request holds the parts of a request that the decision depends on.
type Request struct {
	Method string              // as in the request line, case-sensitive
	Path   string              // as in the request, still percent-encoded, without the query
	Query  string              // as in the request, still percent-encoded, without the ?
	Host   string              // with or without a port
	Body   bool                // whether it has, or may have, content
	Header map[string][]string // by canonical name
}

// Decision on a request. It is let through if By is set.
type Decision struct {
	By    By    // what lets it through; empty if nothing does
	Token Token // of the holder, if By is ByHeader or ByCookie; zero otherwise
	Why   Why   // why it gets the page, or what failed before something else let it through
}

// Rules decide on the requests to one page set.
type Rules struct {
	Settings Settings // of the page set
	Tokens   Tokens   // the current tokens of the Secret; zero if there are none
}

// Decide says whether a request reaches the app.
//
//	CONNECT                                             page
//	Maintenance-Bypass with a token                     by header
//	a cookie of the Secret, for this host, not expired  by cookie
//	an open path that every program reads alike         by path
//	GET, HEAD, OPTIONS if read-only, not overridden     by method
//	a CORS preflight if there are tokens, not overridden by method
//	anything else                                       page
//
// A wrong token does not close what is open to everybody.
func (r Rules) Decide(q Request, now time.Time) Decision {
	if q.Method == "CONNECT" {
		return Decision{Why: Tunnel}
	}
	token, by, why := r.holder(q, now)
	if by != "" {
		return Decision{By: by, Token: token}
	}
	by, odd := r.everybody(q)
	return Decision{By: by, Why: firstOf(why, odd)}
}

func firstOf(whys ...Why) Why {
	for _, why := range whys {
		if why != "" {
			return why
		}
	}
	return ""
}

// holder finds the token that a request carries.
func (r Rules) holder(q Request, now time.Time) (Token, By, Why) {
	if r.Settings.BypassSecret == "" {
		return Token{}, "", ""
	}
	var failed Why
	if shown := q.Header[Header]; len(shown) > 0 {
		if len(shown) == 1 {
			if token, ok := r.Tokens.Find(shown[0]); ok {
				return token, ByHeader, ""
			}
		}
		failed = WrongToken
	}
	token, found, why := r.cookie(q, now)
	if found {
		return token, ByCookie, ""
	}
	return Token{}, "", firstOf(failed, why)
}

// cookie first tries the cookie that only this host can have set, so that no number of
// other cookies keeps it from being tried.
func (r Rules) cookie(q Request, now time.Time) (holder Token, found bool, failed Why) {
	plainName := CookieName(r.Settings.BypassSecret)
	for _, name := range []string{hostPrefix + plainName, plainName} {
		var why Why
		if holder, found, why = r.cookieOf(name, q, now); found {
			return holder, true, ""
		}
		failed = firstOf(failed, why)
	}
	return Token{}, false, failed
}

func (r Rules) cookieOf(wanted string, q Request, now time.Time) (holder Token, found bool, failed Why) {
	tried := 0
	eachCookie(q.Header["Cookie"], func(name, value string) {
		if name != wanted || found || tried == maxCookies {
			return
		}
		tried++
		token, why := r.Tokens.open(value, q.Host, now)
		if why == "" {
			holder, found = token, true
			return
		}
		failed = why
	})
	return holder, found, failed
}

// everybody says what lets a request through that carries no valid token or cookie.
func (r Rules) everybody(q Request) (By, Why) {
	onOpen, elsewhere := open(r.Settings.OpenPaths, q.Path), asksElsewhere(q)
	if onOpen && !elsewhere {
		return ByPath, ""
	}
	preflight := len(r.Tokens.all) > 0 && isPreflight(q)
	if readable := r.Settings.ReadOnly && reads(q.Method); readable || preflight {
		if asksPlainly(q) {
			return ByMethod, ""
		}
		return "", OddRequest
	}
	switch {
	case onOpen:
		return "", OddRequest
	case len(r.Settings.OpenPaths) > 0 && !plain(q.Path):
		return "", OddPath
	}
	return "", Closed
}

func reads(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

// isPreflight recognises a browser's question whether it may send a request from another
// origin (https://fetch.spec.whatwg.org/#cors-preflight-request). It has no content.
func isPreflight(q Request) bool {
	return q.Method == "OPTIONS" && len(q.Header["Origin"]) == 1 && len(q.Header["Access-Control-Request-Method"]) == 1 && !q.Body
}

// asksPlainly says whether a request with a reading method does nothing but read: it does
// not change the protocol, and no header or parameter gives it another method.
func asksPlainly(q Request) bool {
	if len(q.Header["Upgrade"]) > 0 {
		return false
	}
	for name := range q.Header {
		if overrides(fold(name), methodHeaders) {
			return false
		}
	}
	return !hasMethodParameter(q.Query)
}

// Headers from which frameworks take another method or path than the request line's.
// Apps that read headers from CGI variables cannot tell - from _.
var (
	methodHeaders = []string{"x-http-method-override", "x-method-override", "x-http-method", "x-method", "x-original-method", "x-rewrite-method"}
	// Servers remove a script name from the beginning of the path, and gunicorn and WSGI
	// middleware trust a script name in a header.
	pathHeaders = []string{"x-original-url", "x-rewrite-url", "x-override-url", "x-script-name", "script-name", "path-info"}
)

func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func overrides(name string, headers []string) bool {
	return name[:min(len(name), 2)] == "x-" && slices.Contains(headers, name)
}

// asksElsewhere says whether a header may lead the app to another path.
func asksElsewhere(q Request) bool {
	for name := range q.Header {
		if slices.Contains(pathHeaders, fold(name)) {
			return true
		}
	}
	return false
}

// hasMethodParameter says whether a query has a parameter _method, in any case, encoding
// or nesting that a framework may accept: PHP also turns ".method" into it.
func hasMethodParameter(query string) bool {
	for parameter := range strings.FieldsFuncSeq(unescape(query), func(r rune) bool { return r == '&' || r == ';' || r == '?' }) {
		key, _, _ := strings.Cut(strings.ToLower(parameter), "=")
		letters := strings.Map(onlyLetters, key)
		if letters == "method" && key != letters {
			return true
		}
	}
	return false
}

func onlyLetters(r rune) rune {
	if r < 'a' || r > 'z' {
		return -1
	}
	return r
}

// unescape decodes percent-encoding, and leaves what is malformed as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			b.WriteByte(byte(unhex(s[i+1])<<4 | unhex(s[i+2])))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
