// Package access decides who reaches the app during maintenance: it has the settings of a
// page set, and the decision on one request. It reads no Secret and sends nothing.
package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"maintenance-controller.io/pkg/page"
)

// What the controller and the page server agree on.
const (
	// Key holds the settings in a page set's ConfigMap, beside the page.
	Key = "access.json"
	// SecretKey holds the tokens in the Secret that the settings name.
	SecretKey = "maintenance-bypass-token"
	// Version of the format of the settings. A page server refuses every other version.
	Version = 1
	// MaxSize is the largest size of encoded settings, in bytes.
	MaxSize = 64 << 10
	// MaxDoors is how many doors a page set can have: port names have at most 15
	// characters, which leaves two digits.
	MaxDoors = 99
	// MaxOpenPaths is how many open paths a page set can have.
	MaxOpenPaths = 64
	// MaxOpenPath is the largest length of one open path, in bytes.
	MaxOpenPath = 1 << 10
)

// StopTime is how long requests to an app may continue after the drain when a page Pod
// with doors is stopped. The Pod's grace period is longer by this time.
const StopTime = 10 * time.Minute

// Settings say whom a page set lets through, and to which apps. The zero value lets
// nobody through: a page set with it has no doors, and no Key in its ConfigMap.
type Settings struct {
	// BypassSecret names the Secret whose tokens let people through; empty = none.
	BypassSecret string
	// OpenPaths are path prefixes that are open to everybody, at most MaxOpenPaths: see
	// CheckOpenPath.
	OpenPaths []string
	// ReadOnly lets everybody's GET, HEAD and OPTIONS requests through.
	ReadOnly bool
	// Doors are the apps behind the page, named d1, d2 and so on; 1 to MaxDoors if anybody
	// is let through.
	Doors []Door
}

// Door is a port of the page Pods that leads to one app.
type Door struct {
	Name   string `json:"name"`   // d1 to d99, in the order of the settings
	Scheme Scheme `json:"scheme"` // HTTP, HTTPS, H2C or Auto
	Host   string `json:"host"`   // a DNS name (RFC 1123), such as my-app.my-namespace.svc
	Port   int    `json:"port"`   // 1 to 65535
}

// Scheme is the protocol that an app speaks.
type Scheme string

// The schemes. The certificates of apps are never verified.
const (
	HTTP  Scheme = "http"  // HTTP/1.1
	HTTPS Scheme = "https" // TLS
	H2C   Scheme = "h2c"   // HTTP/2 without TLS
	// Auto uses the protocol of the incoming request: TLS, HTTP/2 without TLS, or HTTP/1.1.
	Auto Scheme = "auto"
)

// DoorName is the name of the nth door, counted from 1.
func DoorName(n int) string { return "d" + strconv.Itoa(n) }

const firstPort = 8100

// ContainerPort is the port on which page Pods listen for the door, 8101 to 8199, and the
// port of the page set's Service that leads there; 0 if the door has an invalid name.
func (d Door) ContainerPort() int {
	n, err := strconv.Atoi(strings.TrimPrefix(d.Name, "d"))
	if err != nil {
		return 0
	}
	return firstPort + n
}

// ContainerPortName is the name of ContainerPort in the Pod spec.
func (d Door) ContainerPortName() string { return "maintenance-" + d.Name }

// ServicePortName is the name of the door's port in the page set's Service. It begins with
// http and not https: Traefik speaks TLS to ports whose names begin with https.
func (d Door) ServicePortName() string { return "http-" + d.Name }

// document is Settings as stored.
type document struct {
	Version      int      `json:"version"`
	BypassSecret string   `json:"bypassSecret,omitempty"`
	OpenPaths    []string `json:"openPaths,omitempty"`
	ReadOnly     bool     `json:"readOnly,omitempty"`
	Doors        []Door   `json:"doors"`
}

// Encode returns the canonical text of the settings: equal settings give equal bytes.
func (s Settings) Encode() string {
	paths := slices.Clone(s.OpenPaths)
	slices.Sort(paths)
	raw, err := json.Marshal(document{Version, s.BypassSecret, slices.Compact(paths), s.ReadOnly, s.Doors})
	if err != nil {
		panic(err) // strings, numbers and bools always marshal
	}
	return string(raw)
}

// Parse reads what Encode wrote. It refuses everything else: texts longer than MaxSize,
// another Version, unknown fields, and the same settings in another order or spacing.
func Parse(text string) (Settings, error) {
	if len(text) > MaxSize {
		return Settings{}, fmt.Errorf("%s has %d bytes, more than %d", Key, len(text), MaxSize)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", Key, err)
	}
	if d.Version != Version {
		return Settings{}, fmt.Errorf("%s has version %d, but this program reads version %d", Key, d.Version, Version)
	}
	s := Settings{d.BypassSecret, d.OpenPaths, d.ReadOnly, d.Doors}
	if err := s.Validate(); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", Key, err)
	}
	if s.Encode() != text {
		return Settings{}, fmt.Errorf("%s is not as this program writes it", Key)
	}
	return s, nil
}

var (
	// dnsName is a DNS subdomain (RFC 1123): the form of host names and names of Secrets.
	dnsName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	errNothing = errors.New("nobody is let through: give a bypass secret, open paths or read-only")
)

const maxName = 253 // bytes of a DNS subdomain

func isDNSName(name string) bool { return len(name) <= maxName && dnsName.MatchString(name) }

// Any says whether anybody is let through.
func (s Settings) Any() bool { return s.BypassSecret != "" || len(s.OpenPaths) > 0 || s.ReadOnly }

// Validate says why a page server cannot use the settings; nil if it can.
func (s Settings) Validate() error {
	switch {
	case !s.Any():
		return errNothing
	case s.BypassSecret != "" && !isDNSName(s.BypassSecret):
		return fmt.Errorf("bypass secret %q is not a valid name of a Secret", clip(s.BypassSecret))
	case len(s.OpenPaths) > MaxOpenPaths:
		return fmt.Errorf("%d open paths: give at most %d", len(s.OpenPaths), MaxOpenPaths)
	case len(s.Doors) == 0:
		return errors.New("there are no doors")
	case len(s.Doors) > MaxDoors:
		return fmt.Errorf("%d doors: a page set has at most %d", len(s.Doors), MaxDoors)
	}
	for _, path := range s.OpenPaths {
		if err := CheckOpenPath(path); err != nil {
			return err
		}
	}
	return s.validateDoors()
}

func (s Settings) validateDoors() error {
	seen := map[Door]string{}
	for i, d := range s.Doors {
		switch {
		case d.Name != DoorName(i+1):
			return fmt.Errorf("door %d is called %q, not %s", i+1, clip(d.Name), DoorName(i+1))
		case !slices.Contains([]Scheme{HTTP, HTTPS, H2C, Auto}, d.Scheme):
			return fmt.Errorf("door %s has the scheme %q: give http, https, h2c or auto", d.Name, clip(string(d.Scheme)))
		case !isDNSName(d.Host):
			return fmt.Errorf("door %s has the host %q, which is not a DNS name", d.Name, clip(d.Host))
		case d.Port < 1 || d.Port > 65535:
			return fmt.Errorf("door %s has the port %d: give 1 to 65535", d.Name, d.Port)
		}
		app := d
		app.Name = ""
		if other, twice := seen[app]; twice {
			return fmt.Errorf("doors %s and %s lead to the same app", other, d.Name)
		}
		seen[app] = d.Name
	}
	return nil
}

// Data is the data of a page set's ConfigMap: the page, and the settings if they let
// anybody through.
func Data(p page.Page, s Settings) map[string]string {
	data := p.Data()
	if s.Any() {
		data[Key] = s.Encode()
	}
	return data
}

// Hash is the content hash of a page set, over Data. Settings that let nobody through leave
// the hash of the page.
func Hash(p page.Page, s Settings) string { return page.HashData(Data(p, s)) }

// clip shortens a person's input for a message.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
