package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChoice(t *testing.T) {
	for name, tc := range map[string]struct {
		choice
		args string
		want string // names and kinds, or the error
	}{
		"a name":              {args: "ingress/my-app", want: "Ingress/my-app"},
		"names":               {args: "ing/a svc/b ing/a IngressRoutes.traefik.io/c", want: "Ingress/a Service/b IngressRoute/c"},
		"names of a type":     {args: "ingress a b", want: "Ingress/a Ingress/b Ingress"},
		"a type by labels":    {args: "ingress,svc,ing", choice: choice{selector: "app=shop", all: true}, want: "Ingress Service"},
		"a host":              {choice: choice{host: "Shop.Example.", all: true}, want: "host shop.example"},
		"nothing":             {want: "name a target"},
		"a type alone":        {args: "ingress", want: "name a target"},
		"an unknown type":     {args: "pod/a", want: `"pod" is not a type`},
		"no name":             {args: "ingress/", want: "is not TYPE/NAME"},
		"two slashes":         {args: "ingress/a/b", want: "is not TYPE/NAME"},
		"a name and a type":   {args: "ingress/a svc", want: "is not TYPE/NAME"},
		"everywhere by name":  {args: "ingress/a", choice: choice{all: true}, want: "-A is only for"},
		"labels of a name":    {args: "ingress/a", choice: choice{selector: "a"}, want: "-l chooses objects of a type"},
		"labels alone":        {choice: choice{selector: "a"}, want: "-l chooses objects of a type"},
		"labels that are not": {args: "ingress", choice: choice{selector: "a=="}, want: ""},
		"odd labels":          {args: "ingress", choice: choice{selector: "!!"}, want: "-l: "},
		"a host and a name":   {args: "ingress/a", choice: choice{host: "a.example"}, want: "--host chooses targets of every kind"},
		"a host and labels":   {choice: choice{host: "a.example", selector: "a"}, want: "--host chooses targets of every kind"},
		"a host with a port":  {choice: choice{host: "a.example:80"}, want: "is not a host name"},
		"an address":          {choice: choice{host: "https://a.example/"}, want: "is not a host name"},
		"a wildcard":          {choice: choice{host: "*.example"}, want: "is not a host name"},
		"letters":             {choice: choice{host: "münchen.example"}, want: "xn--"},
	} {
		c := tc.choice
		err := c.chosen(strings.Fields(tc.args))
		if err != nil {
			var f failure
			require.ErrorAs(t, err, &f, name)
			assert.Equal(t, ExitUsage, f.code, name)
			assert.NotEmpty(t, tc.want, "%s: %v", name, err)
			assert.Contains(t, err.Error(), tc.want, name)
			continue
		}
		var got []string
		for _, ref := range c.names {
			got = append(got, ref.UsedByEntry())
		}
		for _, k := range c.kinds {
			got = append(got, k.Name)
		}
		if c.host != "" {
			got = append(got, "host "+c.host)
		}
		if tc.want != "" {
			assert.Equal(t, tc.want, fmt.Sprint(strings.Join(got, " ")), name)
		}
	}
}
