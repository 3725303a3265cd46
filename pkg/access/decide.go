package access

import (
	"slices"
	"strings"
	"time"
)

// Header carries a token in a request, and in an answer what let the request through.
const Header = "Maintenance-Bypass"

// Values of Header in answers that are no By.
const (
	Unreachable = "app-unreachable" // the page, since the app did not answer
	Busy        = "busy"            // the page, since as many are let through as can be
)

// By is what lets a request through: a value of Header in its answer.
type By string

// What lets through. Nobody is the zero value.
const (
	ByHeader By = "header" // a token
	ByCookie By = "cookie" // a cookie made from a token
	ByPath   By = "path"   // an open path
	ByMethod By = "method" // read-only, or a CORS preflight, which carries no cookie
)

// Bys lists them all.
func Bys() []By { return []By{ByHeader, ByCookie, ByPath, ByMethod} }

// Why a request gets the page: a label of metrics.
type Why string

// Why a request gets the page. The first that applies is told.
const (
	Closed      Why = "closed"       // nothing lets it through
	WrongToken  Why = "wrong-token"  // no token of the Secret
	WrongCookie Why = "wrong-cookie" // of another host, token or Secret, or made up
	EndedCookie Why = "ended-cookie"
	OddPath     Why = "odd-path"    // it is on an open path only for some readers
	OddRequest  Why = "odd-request" // it asks for another method, path or protocol than it says
	Tunnel      Why = "tunnel"      // CONNECT
)

// Whys lists them all.
func Whys() []Why {
	return []Why{Closed, WrongToken, WrongCookie, EndedCookie, OddPath, OddRequest, Tunnel}
}

// Request is what of a request decides.
type Request struct {
	Method string
	Path   string // as it stands in the request, without query
	Query  string // as it stands in the request
	Host   string
	Body   bool                // it has, or may have, content
	Header map[string][]string // by canonical name
}

// Decision on a request. It is let through where By is set.
type Decision struct {
	By    By
	Token Token // whose holder is let through by header or cookie
	Why   Why   // it gets the page, or failed before something else let it through
}

// Rules decide for one page set with the tokens of its Secret as they are now.
type Rules struct {
	Settings Settings
	Tokens   Tokens
}

// Decide says whether a request reaches the app.
//
//	CONNECT                                             page
//	Maintenance-Bypass with a token                     by header
//	a cookie of the Secret, for this host, not ended    by cookie
//	an open path that everybody reads alike             by path
//	GET, HEAD, OPTIONS where read-only, asking plainly  by method
//	a CORS preflight where tokens let in, asking plainly by method
//	anything else                                       page
//
// A token that is wrong closes nothing that is open to everybody.
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

// holder finds the token that a request shows.
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

// cookie looks for the cookie that only this host can have set first, so that no
// number of others keeps it from being tried.
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

// everybody says what lets through whoever shows nothing.
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

// isPreflight tells the question of a browser whether it may ask from another origin
// (https://fetch.spec.whatwg.org/#cors-preflight-request). It has no content.
func isPreflight(q Request) bool {
	return q.Method == "OPTIONS" && len(q.Header["Origin"]) == 1 && len(q.Header["Access-Control-Request-Method"]) == 1 && !q.Body
}

// asksPlainly says whether a request that reads can do nothing else in the app: its
// protocol stays, and no header or parameter gives it another method.
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

// Headers by which frameworks take another method or path than the request line's.
// Apps that read them from CGI-like variables know no difference between - and _.
var (
	methodHeaders = []string{"x-http-method-override", "x-method-override", "x-http-method", "x-method", "x-original-method", "x-rewrite-method"}
	// Servers take the prefix in a script name off the path, and gunicorn and WSGI
	// middleware believe such a name from a header.
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

// hasMethodParameter says whether a query has a parameter _method, in whatever case,
// encoding or nesting a framework may read it: PHP makes it of ".method" as well.
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

// unescape decodes what is percent-encoded, and leaves what is broken.
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
