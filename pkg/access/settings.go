// Package access says who reaches the app during maintenance: the settings of a page
// set, and the decision on one request. It reads no Secret and sends nothing.
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
	// Version of the settings. A page server refuses any other.
	Version = 1

	MaxSize      = 64 << 10 // bytes of the settings
	MaxDoors     = 99       // of a page set: a port's name has 15 characters
	MaxOpenPaths = 64
	MaxOpenPath  = 1 << 10 // bytes of one
)

// StopTime is how long requests on their way to an app may go on when a page Pod with
// doors is stopped, after its drain. It gets that much longer a grace period.
const StopTime = 10 * time.Minute

// Settings are what a page set lets through, and where to. The zero value lets
// nobody through: a set with it has no doors, and no Key in its ConfigMap.
type Settings struct {
	// BypassSecret names the Secret whose tokens let people in; empty for none.
	BypassSecret string
	// OpenPaths are path prefixes that everybody reaches: see CheckOpenPath.
	OpenPaths []string
	// ReadOnly lets everybody read.
	ReadOnly bool
	// Doors are the apps behind the page, d1 and on.
	Doors []Door
}

// Door is a port of the page Pods that leads to one app.
type Door struct {
	Name   string `json:"name"` // d1 to d99, in the order of the settings
	Scheme Scheme `json:"scheme"`
	Host   string `json:"host"` // a DNS name, such as my-app.my-namespace.svc
	Port   int    `json:"port"` // 1 to 65535
}

// Scheme is how an app is spoken to.
type Scheme string

// The schemes. TLS to an app is never verified.
const (
	HTTP  Scheme = "http"
	HTTPS Scheme = "https"
	H2C   Scheme = "h2c"
	// Auto speaks as the request came: TLS, HTTP/2 in cleartext or HTTP/1.1.
	Auto Scheme = "auto"
)

// DoorName is the name of the nth door, from 1.
func DoorName(n int) string { return "d" + strconv.Itoa(n) }

const firstPort = 8100

// ContainerPort is where page Pods listen for the door: 8101 to 8199. The Service of
// the set has the same number.
func (d Door) ContainerPort() int {
	n, err := strconv.Atoi(strings.TrimPrefix(d.Name, "d"))
	if err != nil {
		return 0
	}
	return firstPort + n
}

// ContainerPortName is the name of ContainerPort in page Pods.
func (d Door) ContainerPortName() string { return "maintenance-" + d.Name }

// ServicePortName is the door's name in the Service of the set. It begins with http:
// Traefik would speak TLS to a port whose name begins with https.
func (d Door) ServicePortName() string { return "http-" + d.Name }

// document is Settings as stored.
type document struct {
	Version      int      `json:"version"`
	BypassSecret string   `json:"bypassSecret,omitempty"`
	OpenPaths    []string `json:"openPaths,omitempty"`
	ReadOnly     bool     `json:"readOnly,omitempty"`
	Doors        []Door   `json:"doors"`
}

// Encode gives the one text of the settings: equal settings have equal bytes.
func (s Settings) Encode() string {
	paths := slices.Clone(s.OpenPaths)
	slices.Sort(paths)
	raw, err := json.Marshal(document{Version, s.BypassSecret, slices.Compact(paths), s.ReadOnly, s.Doors})
	if err != nil {
		panic(err) // strings, numbers and bools always marshal
	}
	return string(raw)
}

// Parse reads what Encode wrote, and nothing else: not the same settings in another
// order or spacing, no field that it does not know.
func Parse(text string) (Settings, error) {
	if len(text) > MaxSize {
		return Settings{}, fmt.Errorf("%s has %d bytes: at most %d are read", Key, len(text), MaxSize)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", Key, err)
	}
	if d.Version != Version {
		return Settings{}, fmt.Errorf("%s has version %d, and this program reads version %d", Key, d.Version, Version)
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
	// dnsName is a DNS subdomain (RFC 1123), as names of Secrets and hosts are.
	dnsName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	errNothing = errors.New("nobody is let through: give a bypass secret, open paths or read-only")
)

const maxName = 253

func isDNSName(name string) bool { return len(name) <= maxName && dnsName.MatchString(name) }

// Any says whether somebody is let through.
func (s Settings) Any() bool { return s.BypassSecret != "" || len(s.OpenPaths) > 0 || s.ReadOnly }

// Validate says what of the settings cannot be served.
func (s Settings) Validate() error {
	switch {
	case !s.Any():
		return errNothing
	case s.BypassSecret != "" && !isDNSName(s.BypassSecret):
		return fmt.Errorf("bypass secret %q is no name of a Secret", clip(s.BypassSecret))
	case len(s.OpenPaths) > MaxOpenPaths:
		return fmt.Errorf("%d open paths: give at most %d", len(s.OpenPaths), MaxOpenPaths)
	case len(s.Doors) == 0:
		return errors.New("there is no door")
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
			return fmt.Errorf("door %s has the host %q, which is no DNS name", d.Name, clip(d.Host))
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

// Data is the content of a page set's ConfigMap: the page, and the settings if they
// let anybody through.
func Data(p page.Page, s Settings) map[string]string {
	data := p.Data()
	if s.Any() {
		data[Key] = s.Encode()
	}
	return data
}

// Hash is the content hash of a page set: the page's own without settings.
func Hash(p page.Page, s Settings) string { return page.HashData(Data(p, s)) }

// clip bounds what a message quotes of a person's input.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
