package access

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

func all() Settings {
	return Settings{BypassSecret: "team", OpenPaths: []string{"/admin", "/webhooks/"}, ReadOnly: true, Doors: []Door{
		{Name: "d1", Scheme: HTTP, Host: "app.shop.svc", Port: 8080}, {Name: "d2", Scheme: Auto, Host: "api.shop.svc", Port: 443}}}
}

func TestEncodeIsCanonical(t *testing.T) {
	const want = `{"version":1,"bypassSecret":"team","openPaths":["/admin","/webhooks/"],"readOnly":true,"doors":[{"name":"d1","scheme":"http","host":"app.shop.svc","port":8080},{"name":"d2","scheme":"auto","host":"api.shop.svc","port":443}]}`
	assert.Equal(t, want, all().Encode(), "a different text would give everybody new page sets on an update")
	mixed := all()
	mixed.OpenPaths = []string{"/webhooks/", "/admin", "/webhooks/"}
	assert.Equal(t, want, mixed.Encode(), "the order in which paths are given")
	got, err := Parse(want)
	require.NoError(t, err)
	assert.Equal(t, all(), got)
}

func TestParseRefuses(t *testing.T) {
	change := func(f func(*Settings)) string {
		s := all()
		f(&s)
		return s.Encode()
	}
	many := func(n int) (doors []Door) {
		for i := range n {
			doors = append(doors, Door{Name: DoorName(i + 1), Scheme: HTTP, Host: "app", Port: i + 1})
		}
		return doors
	}
	for _, test := range []struct{ name, text, says string }{
		{"nothing", "", "access.json"},
		{"another version", strings.Replace(all().Encode(), `"version":1`, `"version":2`, 1), "version 2"},
		{"an unknown field", strings.Replace(all().Encode(), `"readOnly"`, `"allowFrom":"x","readOnly"`, 1), "not as this program writes it"},
		{"another spacing", all().Encode() + "\n", "not as this program writes it"},
		{"a field twice", strings.Replace(all().Encode(), `"readOnly"`, `"bypassSecret":"team","readOnly"`, 1), "not as this program writes it"},
		{"something after it", all().Encode() + "{}", "invalid character"},
		{"too much", `"` + strings.Repeat("x", MaxSize) + `"`, "bytes"},
		{"nobody", change(func(s *Settings) { *s = Settings{Doors: s.Doors} }), "nobody is let through"},
		{"an invalid name of a Secret", change(func(s *Settings) { s.BypassSecret = "../team" }), "not a valid name of a Secret"},
		{"everything open", change(func(s *Settings) { s.OpenPaths = []string{"/"} }), "open everything"},
		{"too many open paths", change(func(s *Settings) {
			for i := range MaxOpenPaths + 1 {
				s.OpenPaths = append(s.OpenPaths, fmt.Sprintf("/%d", i))
			}
		}), "at most 64"},
		{"no doors", change(func(s *Settings) { s.Doors = nil }), "no doors"},
		{"too many doors", change(func(s *Settings) { s.Doors = many(100) }), "at most 99"},
		{"doors out of order", change(func(s *Settings) { s.Doors[0].Name = "d2" }), `called "d2"`},
		{"another scheme", change(func(s *Settings) { s.Doors[0].Scheme = "ftp" }), `"ftp"`},
		{"no host", change(func(s *Settings) { s.Doors[0].Host = "app/" }), `"app/"`},
		{"no port", change(func(s *Settings) { s.Doors[0].Port = 0 }), "port 0"},
		{"one app twice", change(func(s *Settings) { s.Doors[1] = Door{Name: "d2", Scheme: HTTP, Host: "app.shop.svc", Port: 8080} }), "the same app"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse(test.text)
			assert.ErrorContains(t, err, test.says)
		})
	}
	_, err := Parse(change(func(s *Settings) { s.Doors = many(99) }))
	assert.NoError(t, err)
}

func TestDoorPortsAreDistinct(t *testing.T) {
	seen := map[int]bool{page.Port: true, 9090: true, 443: true, 8443: true}
	for n := 1; n <= MaxDoors; n++ {
		d := Door{Name: DoorName(n)}
		assert.False(t, seen[d.ContainerPort()], "port %d", d.ContainerPort())
		seen[d.ContainerPort()] = true
		assert.LessOrEqual(t, len(d.ContainerPortName()), 15)
	}
	d := Door{Name: DoorName(99)}
	assert.Equal(t, []any{"maintenance-d99", "http-d99", 8199}, []any{d.ContainerPortName(), d.ServicePortName(), d.ContainerPort()})
}

func TestHash(t *testing.T) {
	p := pages.Default()
	assert.Equal(t, p.Hash(), Hash(p, Settings{}), "without settings it is the page's hash")
	assert.Equal(t, p.Data(), Data(p, Settings{}))
	assert.NotEqual(t, p.Hash(), Hash(p, all()))
	other := all()
	other.Doors[0].Port++
	assert.NotEqual(t, Hash(p, all()), Hash(p, other), "another backend is another page set")
	assert.Equal(t, all().Encode(), Data(p, all())[Key])
}

func FuzzParse(f *testing.F) {
	f.Add(all().Encode())
	f.Add(Settings{ReadOnly: true, Doors: all().Doors}.Encode())
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if s.Encode() != text {
			t.Errorf("%q was parsed, but is encoded as %q", text, s.Encode())
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%q was parsed, but is invalid: %v", text, err)
		}
	})
}
