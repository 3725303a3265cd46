// Package target knows the kinds of objects that can be put in maintenance. A kind says
// where its slots are; a new kind is one new file and one line in Kinds.
package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// Ref names a target. It is the key of the queue of targets.
type Ref struct {
	Kind, Namespace, Name string
}

// String is for logs: Ingress shop/my-app.
func (r Ref) String() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

// UsedByEntry is the target's entry in a page set's used-by: Ingress/my-app. It contains
// the kind, so that an Ingress and a Service of one name never interfere.
func (r Ref) UsedByEntry() string { return r.Kind + "/" + r.Name }

// ParseUsedByEntry reads an entry of used-by. It fails if the entry is not Kind/name.
func ParseUsedByEntry(namespace, entry string) (Ref, error) {
	kind, name, ok := strings.Cut(entry, "/")
	if !ok || kind == "" || name == "" {
		return Ref{}, fmt.Errorf("used-by entry %q is not Kind/name", entry)
	}
	return Ref{Kind: kind, Namespace: namespace, Name: name}, nil
}

// Kind is a kind of target.
type Kind struct {
	Name     string                      // Ingress
	Resource schema.GroupVersionResource // as the API server serves it
	Short    string                      // ing, as kubectl has it; empty if there is none
	// Catches says who gets the page when an object of the kind is in maintenance, and
	// Misses who does not: the table in docs/services.md is generated from them.
	Catches, Misses string
	// Custom says that the kind comes with a CRD, which may be absent, or be created or
	// deleted later.
	Custom bool
	// Slots lists the places of the raw object that say where traffic goes, in the object's
	// order, without those that are not application traffic. It fails if the object does
	// not have the shape that this program knows.
	Slots func(object map[string]any) ([]swap.Slot, error)
	// Hosts lists the hosts that the object serves, each once; none if the kind has no
	// hosts or the object cannot be read.
	Hosts func(object map[string]any) []Host
	// SwitchesAtomically says that the slots only work together: one on the page next to
	// one on the app would leave visitors with nothing.
	SwitchesAtomically bool
	// Notes reports what people must know about an object besides its slots; nil if the
	// kind has nothing to report.
	Notes func(object map[string]any) Notes
	// Front says what stands between visitors and the object's backends, in front of a page
	// with this response status; nil if the kind names nothing.
	Front func(object map[string]any, status int) Front
	// Origin gives the spec of a Service that leads to the app while the object leads to
	// the page, from the object as it is outside maintenance; nil if the app can be reached
	// as before.
	Origin func(object map[string]any) *corev1.ServiceSpec
	// Classes are the ingress classes of the object, several if several Gateways lead to
	// it. known is false if the kind or the object has no class and only one controller
	// would read it, or if they cannot all be determined. gateway looks up the class of a
	// Gateway.
	Classes func(object map[string]any, gateway func(namespace, name string) (class string, known bool)) (classes []string, known bool)
	// NoDoors says why people cannot be let through to the apps of any object of the kind;
	// empty if they can.
	NoDoors string
	// Followers are the controllers that report in the object's status what they have
	// observed of it; nil if the kind's status does not say.
	Followers func(object map[string]any) []Follower
}

// Notes is what people must know about an object.
type Notes struct {
	// Refused says why the object can have no slots, and what to do; empty if it has some,
	// or if there is nothing to add.
	Refused string
	// LeftAlone describes parts that have no slot although traffic goes there: what, and
	// why.
	LeftAlone []string
	// InFront describes parts that stay in force and may answer before the page, repeat its
	// requests, or keep visitors from it: what, and how.
	InFront []string
}

// ownClass makes Classes of a kind whose objects have a class of their own.
func ownClass(class func(object map[string]any) (string, bool)) func(map[string]any, func(string, string) (string, bool)) ([]string, bool) {
	return func(object map[string]any, _ func(string, string) (string, bool)) ([]string, bool) {
		name, known := class(object)
		return []string{name}, known
	}
}

// Kinds lists every kind. solvers are Services of ACME clients, in addition to
// cert-manager's, whose paths are left alone; a name that ends in * stands for all names
// with that beginning.
func Kinds(solvers ...string) []Kind {
	return []Kind{Ingress(solvers...), IngressRoute(solvers...), HTTPRoute(), GRPCRoute(), Service()}
}

// Note gives the object's notes; empty if the kind has none.
func (k Kind) Note(object map[string]any) Notes {
	if k.Notes == nil {
		return Notes{}
	}
	return k.Notes(object)
}

// KindByName finds a kind of Kinds by its name in any case; false if there is none.
func KindByName(name string, solvers ...string) (Kind, bool) {
	for _, k := range Kinds(solvers...) {
		if strings.EqualFold(k.Name, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// KindByArgument finds a kind as kubectl would: by its name, its plural, either of them
// with its group, or its short name; false if there is none.
func KindByArgument(arg string) (Kind, bool) {
	name, group, _ := strings.Cut(strings.ToLower(arg), ".")
	for _, k := range Kinds() {
		names := []string{strings.ToLower(k.Name), k.Resource.Resource, k.Short}
		if name != "" && slices.Contains(names, name) && (group == "" || group == k.Resource.Group) {
			return k, true
		}
	}
	return Kind{}, false
}

// APIVersion of the kind's objects.
func (k Kind) APIVersion() string { return k.Resource.GroupVersion().String() }

// decodeStrict reads a recorded value into a type of the API, and refuses fields that the
// type does not have.
func decodeStrict(value, into any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// maxValue limits what is recorded of one slot, in bytes.
const maxValue = 32 << 10

// checkRaw says why a value must not be restored, whatever fields it has: it is too large,
// or names a page set anywhere.
func checkRaw(value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if len(raw) > maxValue {
		return fmt.Errorf("a value of %d bytes: at most %d can be recorded", len(raw), maxValue)
	}
	if namesSet(value) {
		return errors.New("a page set cannot be an original")
	}
	return nil
}

func namesSet(value any) bool {
	switch value := value.(type) {
	case string:
		return page.IsSetName(value)
	case []any:
		return slices.ContainsFunc(value, namesSet)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(value)), namesSet)
	}
	return false
}

// validName says whether a text can be the name of a backend. Traefik's names may contain
// an @.
func validName(name string) bool {
	return name != "" && !strings.ContainsAny(name, " /\\$(){}") && len(name) <= 2*validation.DNS1123SubdomainMaxLength
}

// duplicates numbers slots that are otherwise equal.
type duplicates map[swap.ID]int

func (n duplicates) number(id swap.ID) swap.ID {
	id.N = 0
	same := id
	id.N = n[same]
	n[same]++
	return id
}
