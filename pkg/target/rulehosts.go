package target

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"maintenance-controller.io/pkg/annotations"
)

// hostsOfRule lists the hosts of a rule of Traefik, whose grammar is that of Go's
// expressions, of v3 and of v2.
//
//	Host(`a`)                 a
//	Host(`a`, `b`)            a and b: v2 alone has lists
//	HostRegexp(`…`)           its expression
//	Path(`/`), ClientIP(…), … any host: they say nothing of it
//	x || y                    those of x and of y
//	x && y                    those that both have
//	!Host(`a`)                as it is written: all but a cannot be listed
//	what cannot be read       as it is written: a newer Traefik may know it
func hostsOfRule(match string) []Host {
	if strings.TrimSpace(match) == "" {
		return []Host{{Form: NoHost}}
	}
	expression, err := parser.ParseExpr(match)
	if err != nil {
		return []Host{unlisted(match).Host}
	}
	var hosts []Host
	for _, h := range (rule{text: match}).hosts(expression) {
		hosts = append(hosts, h.Host)
	}
	return hosts
}

// ruled is a host of a rule. admits says whether an exact host is among it; nil where
// nobody can tell.
type ruled struct {
	Host
	admits func(name string) bool
}

func anyHost() ruled { return ruled{Host{Form: NoHost}, func(string) bool { return true }} }

// unlisted is a rule, or a part of one, in its own words.
func unlisted(text string) ruled { return ruled{Host: Host{RegexpHost, annotations.Clip(text)}} }

// rule is one as it is written, or its opposite: negations go inwards by De Morgan's laws,
// until each is of a single matcher.
type rule struct {
	text    string
	negated bool
}

func (r rule) hosts(at ast.Expr) []ruled {
	switch at := at.(type) {
	case *ast.ParenExpr:
		return r.hosts(at.X)
	case *ast.UnaryExpr:
		if at.Op == token.NOT {
			return rule{r.text, !r.negated}.hosts(at.X)
		}
	case *ast.BinaryExpr:
		switch {
		case at.Op == token.LOR && !r.negated, at.Op == token.LAND && r.negated:
			return once(append(r.hosts(at.X), r.hosts(at.Y)...))
		case at.Op == token.LAND, at.Op == token.LOR:
			return bothHave(r.hosts(at.X), r.hosts(at.Y))
		}
	case *ast.CallExpr:
		return r.matcher(at)
	}
	return []ruled{unlisted(r.of(at))}
}

// matcher reads one. Names of matchers come in several cases.
func (r rule) matcher(call *ast.CallExpr) []ruled {
	name, _ := call.Fun.(*ast.Ident)
	if name == nil {
		return []ruled{unlisted(r.of(call))}
	}
	var read func(string) ruled
	switch strings.ToLower(name.Name) {
	case "host", "hostheader":
		read = named
	case "hostregexp":
		read = expressed
	default:
		return []ruled{anyHost()}
	}
	var hosts []ruled
	for _, arg := range call.Args {
		literal, _ := arg.(*ast.BasicLit)
		if literal == nil {
			return []ruled{unlisted(r.of(call))}
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			return []ruled{unlisted(r.of(call))}
		}
		hosts = append(hosts, read(value))
	}
	if r.negated {
		return []ruled{allBut(hosts, "!"+r.of(call))}
	}
	return hosts
}

func named(value string) ruled {
	value = strings.ToLower(strings.TrimSuffix(value, "."))
	return ruled{Host{ExactHost, value}, func(name string) bool { return name == value }}
}

// variable of an expression of v2, {sub:[a-z]+}, which Go's expressions do not have.
var variable = regexp.MustCompile(`\{[A-Za-z]`)

func expressed(value string) ruled {
	h := ruled{Host: Host{RegexpHost, value}}
	if expression, err := regexp.Compile(value); err == nil && !variable.MatchString(value) {
		h.admits = expression.MatchString
	}
	return h
}

func allBut(hosts []ruled, text string) ruled {
	h := unlisted(text)
	if !slices.ContainsFunc(hosts, func(h ruled) bool { return h.admits == nil }) {
		h.admits = func(name string) bool {
			return !slices.ContainsFunc(hosts, func(h ruled) bool { return h.admits(name) })
		}
	}
	return h
}

// of gives the text of a part.
func (r rule) of(part ast.Node) string {
	from, to := int(part.Pos())-1, int(part.End())-1
	if from < 0 || to > len(r.text) || from > to {
		return r.text
	}
	return r.text[from:to]
}

// bothHave are the hosts of two lists that a request must be in. What cannot be compared
// stays: a host too many in the list is better than one that is missed.
func bothHave(left, right []ruled) (both []ruled) {
	for _, l := range left {
		for _, r := range right {
			one, other := l, r // the one that says more
			if l.Form == NoHost || r.Form == ExactHost && l.Form != ExactHost {
				one, other = r, l
			}
			switch {
			case one.Form != ExactHost && other.Form != NoHost:
				both = append(both, ruled{one.Host, admitBoth(one.admits, other.admits)})
			case one.Form != ExactHost || other.admits == nil || other.admits(one.Name):
				both = append(both, one)
			}
		}
	}
	return once(both)
}

func admitBoth(l, r func(string) bool) func(string) bool {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	}
	return func(name string) bool { return l(name) && r(name) }
}

func once(hosts []ruled) []ruled {
	seen := map[Host]bool{}
	return slices.DeleteFunc(hosts, func(h ruled) bool {
		double := seen[h.Host]
		seen[h.Host] = true
		return double
	})
}
