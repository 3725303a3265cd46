package target

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	traefikv1alpha1 "github.com/traefik/traefik/v3/pkg/provider/kubernetes/crd/traefikio/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"maintenance-controller.io/pkg/annotations"
)

// MiddlewareResource is that of Traefik's Middleware, which changes requests and answers
// between visitors and a backend.
func MiddlewareResource() schema.GroupVersionResource {
	return traefikv1alpha1.SchemeGroupVersion.WithResource("middlewares")
}

// Middleware names one in front of a target. Namespace is empty if it is not known.
type Middleware struct{ Namespace, Name string }

// String returns namespace/name, or the name alone if the namespace is not known.
func (m Middleware) String() string {
	return annotations.Clip(strings.TrimPrefix(m.Namespace+"/"+m.Name, "/"))
}

// Candidates lists where the object may be; none if it is not an object of the cluster. In
// the annotation of an Ingress, namespace and name are joined by a hyphen, and both may
// contain hyphens.
func (m Middleware) Candidates() (places []Middleware) {
	if m.Namespace != "" {
		return []Middleware{m}
	}
	joined, isObject := strings.CutSuffix(m.Name, crdProvider)
	for at := range joined {
		if isObject && joined[at] == '-' && at > 0 && at < len(joined)-1 {
			places = append(places, Middleware{joined[:at], joined[at+1:]})
		}
	}
	return places
}

// Front is what stands between visitors and an object's backends, according to the object.
type Front struct {
	// Middlewares of Traefik; see Candidates for one without a namespace.
	Middlewares []Middleware
	// Services are the names of the backends in the object's namespace, for finding tools
	// that look for them among the object's backends.
	Services []string
	// Hides are settings of the object that are known to hide a page: each says which one,
	// what it does, and what to set.
	Hides []string
}

// routerMiddlewares is the annotation that gives an Ingress middlewares of Traefik.
const routerMiddlewares = "traefik.ingress.kubernetes.io/router.middlewares"

const crdProvider = "@kubernetescrd"

func ingressFront(object map[string]any, status int) Front {
	ing, err := readIngress(object)
	if err != nil {
		return Front{}
	}
	f := Front{Hides: annotatedHides(ing.Annotations, status)}
	for _, name := range strings.Split(ing.Annotations[routerMiddlewares], ",") {
		name = strings.TrimSpace(name)
		switch of, isObject := strings.CutSuffix(name, crdProvider); {
		case name == "":
		case isObject && strings.HasPrefix(of, ing.Namespace+"-"):
			f.Middlewares = append(f.Middlewares, Middleware{ing.Namespace, strings.TrimPrefix(of, ing.Namespace+"-")})
		default:
			f.Middlewares = append(f.Middlewares, Middleware{Name: name})
		}
	}
	seen := map[string]bool{}
	look := func(b *networkingv1.IngressBackend) {
		if b != nil && b.Service != nil && !isALBAction(*b) && !seen[b.Service.Name] {
			seen[b.Service.Name] = true
			f.Services = append(f.Services, b.Service.Name)
		}
	}
	look(ing.Spec.DefaultBackend)
	for _, rule := range ing.Spec.Rules {
		if rule.HTTP != nil {
			for i := range rule.HTTP.Paths {
				look(&rule.HTTP.Paths[i].Backend)
			}
		}
	}
	return f
}

// Annotations of ingress controllers about certain response statuses.
const (
	nginxErrors       = "nginx.ingress.kubernetes.io/custom-http-errors"
	nginxNextUpstream = "nginx.ingress.kubernetes.io/proxy-next-upstream"
	gatewayProbe      = "appgw.ingress.kubernetes.io/health-probe-path"
	gatewayStatus     = "appgw.ingress.kubernetes.io/health-probe-status-codes"
)

func annotatedHides(all map[string]string, status int) (hides []string) {
	if covers([]any{all[nginxErrors]}, status) {
		hides = append(hides, fmt.Sprintf("annotation %s replaces answers with %d by another page: leave that status out", nginxErrors, status))
	}
	if slices.Contains(strings.Fields(all[nginxNextUpstream]), fmt.Sprintf("http_%d", status)) {
		hides = append(hides, fmt.Sprintf("annotation %s repeats each request that is answered with %d: leave http_%d out", nginxNextUpstream, status, status))
	}
	if all[gatewayProbe] != "" && !covers([]any{all[gatewayStatus]}, status) {
		hides = append(hides, fmt.Sprintf("annotation %s makes the gateway probe the page like the app and take its %d for a failure: remove it, so that the gateway uses the readiness probe, or set %s to 200-399,%d", gatewayProbe, status, gatewayStatus, status))
	}
	return hides
}

func ingressRouteFront(object map[string]any, _ int) Front {
	routes, err := ingressRoutes(object)
	if err != nil {
		return Front{}
	}
	own, _ := valueAt(object, []any{"metadata", "namespace"}).(string)
	var f Front
	seen := map[Middleware]bool{}
	for _, route := range routes {
		for _, m := range middlewareRefs(route, own) {
			if !seen[m] {
				seen[m] = true
				f.Middlewares = append(f.Middlewares, m)
			}
		}
	}
	return f
}

// middlewareRefs reads the middlewares of a route or of a chain.
func middlewareRefs(of any, own string) (found []Middleware) {
	list, _ := valueAt(of, []any{"middlewares"}).([]any)
	for _, entry := range list {
		name, _ := valueAt(entry, []any{"name"}).(string)
		namespace, _ := valueAt(entry, []any{"namespace"}).(string)
		switch {
		case name == "":
		case strings.Contains(name, "@"):
			found = append(found, Middleware{Name: name})
		case namespace == "":
			found = append(found, Middleware{own, name})
		default:
			found = append(found, Middleware{namespace, name})
		}
	}
	return found
}

// MiddlewareHides says what a Middleware does to answers with this status that visitors
// should see, and what to do about it; empty if nothing is known. own is the Middleware's
// namespace. A chain leads to other middlewares.
//
//	circuitBreaker over response codes  trips on the page, and answers without it
//	errors over the status              puts another page in its place
//	retry over the status               asks again and again (not in Traefik 3.6)
//	buffering with a retryExpression    asks again and again
func MiddlewareHides(spec any, own string, status int) (why string, chain []Middleware) {
	text := func(path ...any) string { s, _ := valueAt(spec, path).(string); return s }
	switch {
	case strings.Contains(text("circuitBreaker", "expression"), "ResponseCodeRatio"):
		why = fmt.Sprintf("its circuitBreaker trips on answers with %d and then shows visitors an error instead of the page: let it watch NetworkErrorRatio or LatencyAtQuantileMS, or remove it", status)
	case covers(valueAt(spec, []any{"errors", "status"}), status):
		why = fmt.Sprintf("its errors replace answers with %d by another page: leave that status out, or remove it", status)
	case covers(valueAt(spec, []any{"retry", "status"}), status):
		why = fmt.Sprintf("its retry repeats each request that is answered with %d: leave that status out, or remove it", status)
	case strings.Contains(text("buffering", "retryExpression"), "ResponseCode()"):
		why = "the retryExpression of its buffering repeats requests by their status: leave it out, or remove it"
	}
	return why, middlewareRefs(valueAt(spec, []any{"chain"}), own)
}

var statusRange = regexp.MustCompile(`^\s*([0-9]{3})(?:\s*-\s*([0-9]{3}))?\s*$`)

// covers says whether statuses such as "500-599" or "404,503" include this one.
func covers(list any, status int) bool {
	all, _ := list.([]any)
	for _, entry := range all {
		for _, part := range strings.Split(fmt.Sprint(entry), ",") {
			m := statusRange.FindStringSubmatch(part)
			if m == nil {
				continue
			}
			low, _ := strconv.Atoi(m[1])
			high := low
			if m[2] != "" {
				high, _ = strconv.Atoi(m[2])
			}
			if low <= status && status <= high {
				return true
			}
		}
	}
	return false
}

// RolloutTool names the tool that looks for this Service among the backends of an Ingress
// and stops while it is not there; empty if none is known.
func RolloutTool(svc *corev1.Service) string {
	owner := metav1.GetControllerOf(svc)
	switch {
	case svc.Annotations[rolloutsAnnotation] != "":
		return fmt.Sprintf("Argo Rollouts (Rollout %q)", annotations.Clip(svc.Annotations[rolloutsAnnotation]))
	case svc.Spec.Selector["rollouts-pod-template-hash"] != "":
		return "Argo Rollouts"
	case owner != nil && owner.Kind == "Canary" && strings.HasPrefix(owner.APIVersion, "flagger.app/"):
		return fmt.Sprintf("Flagger (Canary %q)", annotations.Clip(owner.Name))
	}
	for _, entry := range svc.ManagedFields {
		if entry.Manager == "flagger" {
			return "Flagger"
		}
	}
	return ""
}
