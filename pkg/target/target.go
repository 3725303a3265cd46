// Package target knows the kinds of objects that can be put in maintenance. A
// kind says where its slots are; a new kind is one new file and one line in Kinds.
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

// Ref names a target. It is the key of the queue.
type Ref struct {
	Kind, Namespace, Name string
}

// String is for logs: Ingress shop/my-app.
func (r Ref) String() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

// User is the target's entry in a page set's used-by: Ingress/my-app. The kind
// is part of it, so that an Ingress and a Service of one name never interfere.
func (r Ref) User() string { return r.Kind + "/" + r.Name }

// ParseUser reads an entry of used-by.
func ParseUser(namespace, entry string) (Ref, error) {
	kind, name, ok := strings.Cut(entry, "/")
	if !ok || kind == "" || name == "" {
		return Ref{}, fmt.Errorf("used-by entry %q is not Kind/name", entry)
	}
	return Ref{Kind: kind, Namespace: namespace, Name: name}, nil
}

// Kind is a kind of target.
type Kind struct {
	Name     string // Ingress
	Resource schema.GroupVersionResource
	Short    string // ing, as kubectl has it; empty if there is none
	// Catches says who gets the page where an object of the kind is in maintenance, and
	// Misses who does not: the README's table is made from them.
	Catches, Misses string
	// Custom kinds come with a CRD, which may be absent, come later, or go.
	Custom bool
	// Slots lists the places of the raw object that name where traffic goes, in
	// the object's order, without those that are not application traffic. Its
	// error means that the object is not of the shape that this program knows.
	Slots func(object map[string]any) ([]swap.Slot, error)
	// Hosts lists the hosts that the object says it serves, each once; none where the kind
	// has none by nature, or where the object cannot be read.
	Hosts func(object map[string]any) []Host
	// Whole says that the slots lead somewhere only together: one on the page
	// beside one on the app would leave visitors with nothing.
	Whole bool
	// Notes tells what people must know of an object beside its slots; nil if the
	// kind has nothing to tell.
	Notes func(object map[string]any) Notes
	// Front says what stands between visitors and the object's backends, to a page
	// that is answered with this status; nil if the kind names nothing.
	Front func(object map[string]any, status int) Front
	// Origin gives the spec of a Service that leads to the app while the object
	// leads to the page, from the object as it is without maintenance; nil if the
	// app can be reached as before.
	Origin func(object map[string]any) *corev1.ServiceSpec
	// Classes are the ingress classes of the object, which has several where several
	// Gateways lead to it. known is false where the kind or the object has none by nature
	// and only one controller would read it, or where nobody can tell all of them.
	// gateway looks the class of a Gateway up.
	Classes func(object map[string]any, gateway func(namespace, name string) (class string, known bool)) (classes []string, known bool)
	// NoDoors says why people cannot be let through to the apps of any object of the kind;
	// empty if they can.
	NoDoors string
	// Followers are the controllers that say in the object's status what they have seen of
	// it; nil where the kind's status says nothing of the kind.
	Followers func(object map[string]any) []Follower
}

// Notes is what people must know of an object.
type Notes struct {
	// Refused says why the object can have no slots, and what to do; empty if it
	// has some, or if there is nothing to add.
	Refused string
	// LeftAlone are parts of it that are none although traffic goes there: each
	// says what and why.
	LeftAlone []string
	// InFront are parts of it that stay in force and may answer before the page, repeat
	// its requests, or keep visitors from it: each says what and why.
	InFront []string
}

// one makes Classes of a kind whose objects have a class of their own.
func one(class func(object map[string]any) (string, bool)) func(map[string]any, func(string, string) (string, bool)) ([]string, bool) {
	return func(object map[string]any, _ func(string, string) (string, bool)) ([]string, bool) {
		name, known := class(object)
		return []string{name}, known
	}
}

// Kinds lists every kind there is. Solvers are the Services of ACME clients, beside
// cert-manager's, whose paths are left alone; a name may end in *.
func Kinds(solvers ...string) []Kind {
	return []Kind{Ingress(solvers...), IngressRoute(solvers...), HTTPRoute(), GRPCRoute(), Service()}
}

// Note gives the object's notes.
func (k Kind) Note(object map[string]any) Notes {
	if k.Notes == nil {
		return Notes{}
	}
	return k.Notes(object)
}

// KindByName finds a kind of Kinds, by its name in any case.
func KindByName(name string, solvers ...string) (Kind, bool) {
	for _, k := range Kinds(solvers...) {
		if strings.EqualFold(k.Name, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// KindByArgument finds a kind as kubectl would: by its name, its plural, either with its
// group, or its short name.
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

// decodeStrict reads a remembered value into a type of the API and refuses what
// that type does not have.
func decodeStrict(value, into any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// maxValue bounds what is remembered of one slot, in bytes.
const maxValue = 32 << 10

// checkRaw says why a value may not be put back as it was, whatever fields it has:
// it is bounded, and has no page set anywhere in it.
func checkRaw(value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if len(raw) > maxValue {
		return fmt.Errorf("a value of %d bytes: at most %d can be remembered", len(raw), maxValue)
	}
	if namesSet(value) {
		return errors.New("a page set is no original")
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

// validName: the names of whatever a backend leads to. Traefik has names with an @.
func validName(name string) bool {
	return name != "" && !strings.ContainsAny(name, " /\\$(){}") && len(name) <= 2*validation.DNS1123SubdomainMaxLength
}

// numbered tells slots apart that are otherwise the same.
type numbered map[swap.ID]int

func (n numbered) id(id swap.ID) swap.ID {
	id.N = 0
	same := id
	id.N = n[same]
	n[same]++
	return id
}
