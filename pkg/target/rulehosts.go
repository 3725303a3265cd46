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

// hostsOfRule lists the hosts of a Traefik rule, v3 or v2. The grammar is that of Go's
// expressions.
//
//	Host(`a`)                 a
//	Host(`a`, `b`)            a and b: only v2 has lists
//	HostRegexp(`…`)           its expression
//	Path(`/`), ClientIP(…), … any host: they do not restrict it
//	x || y                    those of x and of y
//	x && y                    those that both have
//	!Host(`a`)                its text: all but a cannot be listed
//	what cannot be parsed     its text: a newer Traefik may know it
func hostsOfRule(match string) []Host {
	if strings.TrimSpace(match) == "" {
		return []Host{{Form: NoHost}}
	}
	expression, err := parser.ParseExpr(match)
	if err != nil {
		return []Host{unlisted(match).Host}
	}
	var hosts []Host
	for _, h := range (traefikRule{text: match}).hosts(expression) {
		hosts = append(hosts, h.Host)
	}
	return hosts
}

// ruleHost is a host of a rule. admits says whether it includes an exact host; nil if
// nobody can tell.
type ruleHost struct {
	Host
	admits func(name string) bool
}

func anyHost() ruleHost { return ruleHost{Host{Form: NoHost}, func(string) bool { return true }} }

// unlisted is a rule, or a part of one, as its text.
func unlisted(text string) ruleHost { return ruleHost{Host: Host{RegexpHost, annotations.Clip(text)}} }

// traefikRule is a rule or its negation: negations move inwards by De Morgan's laws until
// each applies to a single matcher.
type traefikRule struct {
	text    string
	negated bool
}

func (r traefikRule) hosts(at ast.Expr) []ruleHost {
	switch at := at.(type) {
	case *ast.ParenExpr:
		return r.hosts(at.X)
	case *ast.UnaryExpr:
		if at.Op == token.NOT {
			return traefikRule{r.text, !r.negated}.hosts(at.X)
		}
	case *ast.BinaryExpr:
		switch {
		case at.Op == token.LOR && !r.negated, at.Op == token.LAND && r.negated:
			return unique(append(r.hosts(at.X), r.hosts(at.Y)...))
		case at.Op == token.LAND, at.Op == token.LOR:
			return intersect(r.hosts(at.X), r.hosts(at.Y))
		}
	case *ast.CallExpr:
		return r.matcher(at)
	}
	return []ruleHost{unlisted(r.textOf(at))}
}

// matcher reads a matcher, whose name may have any case.
func (r traefikRule) matcher(call *ast.CallExpr) []ruleHost {
	name, _ := call.Fun.(*ast.Ident)
	if name == nil {
		return []ruleHost{unlisted(r.textOf(call))}
	}
	var read func(string) ruleHost
	switch strings.ToLower(name.Name) {
	case "host", "hostheader":
		read = exactRuleHost
	case "hostregexp":
		read = regexpRuleHost
	default:
		return []ruleHost{anyHost()}
	}
	var hosts []ruleHost
	for _, arg := range call.Args {
		literal, _ := arg.(*ast.BasicLit)
		if literal == nil {
			return []ruleHost{unlisted(r.textOf(call))}
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			return []ruleHost{unlisted(r.textOf(call))}
		}
		hosts = append(hosts, read(value))
	}
	if r.negated {
		return []ruleHost{allBut(hosts, "!"+r.textOf(call))}
	}
	return hosts
}

func exactRuleHost(value string) ruleHost {
	value = strings.ToLower(strings.TrimSuffix(value, "."))
	return ruleHost{Host{ExactHost, value}, func(name string) bool { return name == value }}
}

// variable of an expression of v2, {sub:[a-z]+}, which Go's expressions do not have.
var variable = regexp.MustCompile(`\{[A-Za-z]`)

func regexpRuleHost(value string) ruleHost {
	h := ruleHost{Host: Host{RegexpHost, value}}
	if expression, err := regexp.Compile(value); err == nil && !variable.MatchString(value) {
		h.admits = expression.MatchString
	}
	return h
}

func allBut(hosts []ruleHost, text string) ruleHost {
	h := unlisted(text)
	if !slices.ContainsFunc(hosts, func(h ruleHost) bool { return h.admits == nil }) {
		h.admits = func(name string) bool {
			return !slices.ContainsFunc(hosts, func(h ruleHost) bool { return h.admits(name) })
		}
	}
	return h
}

// textOf gives the text of a part.
func (r traefikRule) textOf(part ast.Node) string {
	from, to := int(part.Pos())-1, int(part.End())-1
	if from < 0 || to > len(r.text) || from > to {
		return r.text
	}
	return r.text[from:to]
}

// intersect gives the hosts that are in both lists. Those that cannot be compared stay: an
// additional host in the list is better than a missing one.
func intersect(left, right []ruleHost) (both []ruleHost) {
	for _, l := range left {
		for _, r := range right {
			one, other := l, r // the more specific one
			if l.Form == NoHost || r.Form == ExactHost && l.Form != ExactHost {
				one, other = r, l
			}
			switch {
			case one.Form != ExactHost && other.Form != NoHost:
				both = append(both, ruleHost{one.Host, admitBoth(one.admits, other.admits)})
			case one.Form != ExactHost || other.admits == nil || other.admits(one.Name):
				both = append(both, one)
			}
		}
	}
	return unique(both)
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

func unique(hosts []ruleHost) []ruleHost {
	seen := map[Host]bool{}
	return slices.DeleteFunc(hosts, func(h ruleHost) bool {
		double := seen[h.Host]
		seen[h.Host] = true
		return double
	})
}
