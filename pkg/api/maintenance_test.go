package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMaintenance(t *testing.T) {
	h := shop().api(Config{})
	w := ask(h, "GET", "/maintenance?namespace=shop&host=b.example")
	assert.NotContains(t, w.Body.String(), "<", "markup is escaped")
	assert.JSONEq(t, `[
		{"kind":"Ingress","namespace":"shop","name":"b","hosts":["b.example"],"state":"active","since":"2026-03-01T11:00:00Z","until":"2026-03-01T12:00:00Z","reason":"<b>\"new\"\u2028 database","page":"spring"},
		{"kind":"IngressRoute","namespace":"shop","name":"expression","hosts":["~^a"],"state":"active","since":null,"until":null,"reason":"","page":"default"}
	]`, w.Body.String())
	for query, want := range map[string]string{
		"":                           "blog/any shop/wild shop/b shop/expression shop/web",
		"?namespace=blog":            "blog/any",
		"?host=b.example":            "blog/any shop/b shop/expression",
		"?host=B.Example.":           "blog/any shop/b shop/expression",
		"?host=b.example:8443":       "blog/any shop/b shop/expression",
		"?host=x.shop.example":       "blog/any shop/wild shop/expression",
		"?host=x.y.shop.example":     "blog/any shop/wild shop/expression",
		"?host=shop.example":         "blog/any shop/expression",
		"?host=192.0.2.1":            "blog/any shop/expression",
		"?namespace=none&host=a.b.c": "",
	} {
		assert.Equal(t, want, names(t, ask(h, "GET", "/maintenance"+query)), query)
	}
}

// TestUnreadHostsMatchAnyHost: a target whose hosts are not read yet is in every answer, alone and
// next to rows that match. Leaving it out would say that it is not in maintenance.
func TestUnreadHostsMatchAnyHost(t *testing.T) {
	unread := Row{Kind: "Ingress", Namespace: "shop", Name: "a", State: "active"}
	alone, beside := &known{rows: []Row{unread}}, shop()
	beside.rows = append(beside.rows, unread)
	for query, want := range map[string][2]string{
		"":                                    {"shop/a", "blog/any shop/wild shop/a shop/b shop/expression shop/web"},
		"?host=a.example":                     {"shop/a", "blog/any shop/a shop/expression"},
		"?host=a.example&namespace=shop":      {"shop/a", "shop/a shop/expression"},
		"?host=x.shop.example&namespace=shop": {"shop/a", "shop/wild shop/a shop/expression"},
		"?host=a.example&namespace=blog":      {"", "blog/any"},
	} {
		for i, k := range []*known{alone, beside} {
			w := ask(k.api(Config{}), "GET", "/maintenance"+query)
			assert.Equal(t, want[i], names(t, w), query)
			assert.Equal(t, strings.Contains(want[i], "shop/a"), strings.Contains(w.Body.String(), `"hosts":null`), query)
		}
	}
}

// BenchmarkFiftyThousandRows measures the cost of the largest answer.
func BenchmarkFiftyThousandRows(b *testing.B) {
	k := &known{}
	for i := range 50_000 {
		k.rows = append(k.rows, Row{Kind: "Ingress", Namespace: fmt.Sprintf("namespace-%d", i%500), Name: fmt.Sprintf("my-app-%d", i), Hosts: []string{fmt.Sprintf("h%d.example", i)}, State: "active", Since: time.Now(), Reason: "a new database", Page: "default"})
	}
	h := k.api(Config{})
	for b.Loop() {
		a, err := h.maintenance(query{})
		require.NoError(b, err)
		p, err := newReply(a)
		require.NoError(b, err)
		b.SetBytes(int64(len(p.body)))
	}
}
