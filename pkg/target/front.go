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

// MiddlewareResource is Traefik's Middleware: what is done to requests and answers
// between visitors and a backend.
func MiddlewareResource() schema.GroupVersionResource {
	return traefikv1alpha1.SchemeGroupVersion.WithResource("middlewares")
}

// Middleware names one that stands in front of a target.
type Middleware struct{ Namespace, Name string }

func (m Middleware) String() string {
	return annotations.Clip(strings.TrimPrefix(m.Namespace+"/"+m.Name, "/"))
}

// Places are where the object may be, none if it is no object of the cluster: in the
// annotation of an Ingress, namespace and name are joined by a hyphen, and either may
// have more of them.
func (m Middleware) Places() (places []Middleware) {
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

// Front is what stands between visitors and an object's backends, as the object says.
type Front struct {
	// Middlewares of Traefik; see Places of one without a namespace.
	Middlewares []Middleware
	// Services are the backends by name, in the object's namespace, for whoever looks
	// for them among the backends of the object.
	Services []string
	// Hides are settings of the object itself that are known to hide a page: each says
	// which, what it does, and what to set.
	Hides []string
}

// routerMiddlewares is the annotation by which Traefik gives an Ingress middlewares.
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
		if b != nil && b.Service != nil && !isAction(*b) && !seen[b.Service.Name] {
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

// Annotations of ingress controllers that are about answers of some statuses.
const (
	nginxErrors   = "nginx.ingress.kubernetes.io/custom-http-errors"
	nginxNext     = "nginx.ingress.kubernetes.io/proxy-next-upstream"
	gatewayProbe  = "appgw.ingress.kubernetes.io/health-probe-path"
	gatewayStatus = "appgw.ingress.kubernetes.io/health-probe-status-codes"
)

func annotatedHides(all map[string]string, status int) (hides []string) {
	if covers([]any{all[nginxErrors]}, status) {
		hides = append(hides, fmt.Sprintf("annotation %s puts another page in the place of answers with %d: leave that status out", nginxErrors, status))
	}
	if slices.Contains(strings.Fields(all[nginxNext]), fmt.Sprintf("http_%d", status)) {
		hides = append(hides, fmt.Sprintf("annotation %s repeats each request that is answered with %d: leave http_%d out", nginxNext, status, status))
	}
	if all[gatewayProbe] != "" && !covers([]any{all[gatewayStatus]}, status) {
		hides = append(hides, fmt.Sprintf("annotation %s has the gateway ask the page as it asks the app, and take its %d for a failure: without the annotation it asks the readiness probe, or set %s to 200-399,%d", gatewayProbe, status, gatewayStatus, status))
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

// Hides says what a Middleware does to answers of this status that visitors are meant
// to see, and what to do about it; empty if nothing is known. A chain leads to others.
//
//	circuitBreaker over response codes  trips on the page, and answers without it
//	errors over the status              puts another page in its place
//	retry over the status               asks again and again (not in Traefik 3.6)
//	buffering with a retryExpression    likewise
func Hides(spec any, own string, status int) (why string, chain []Middleware) {
	text := func(path ...any) string { s, _ := valueAt(spec, path).(string); return s }
	switch {
	case strings.Contains(text("circuitBreaker", "expression"), "ResponseCodeRatio"):
		why = fmt.Sprintf("its circuitBreaker trips on answers with %d and then gives visitors an error without the page: let it watch NetworkErrorRatio or LatencyAtQuantileMS, or take it off", status)
	case covers(valueAt(spec, []any{"errors", "status"}), status):
		why = fmt.Sprintf("its errors put another page in the place of answers with %d: leave that status out, or take it off", status)
	case covers(valueAt(spec, []any{"retry", "status"}), status):
		why = fmt.Sprintf("its retry repeats each request that is answered with %d: leave that status out, or take it off", status)
	case strings.Contains(text("buffering", "retryExpression"), "ResponseCode()"):
		why = "the retryExpression of its buffering repeats requests by their status: leave it out, or take it off"
	}
	return why, middlewareRefs(valueAt(spec, []any{"chain"}), own)
}

var statusRange = regexp.MustCompile(`^\s*([0-9]{3})(?:\s*-\s*([0-9]{3}))?\s*$`)

// covers says whether statuses such as "500-599" or "404,503" have this one.
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

// LooksForIt names the tool that looks for this Service among the backends of an
// Ingress, and stops while it is not there; empty if none is known to.
func LooksForIt(svc *corev1.Service) string {
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
