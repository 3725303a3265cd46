package scripts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/cluster"
)

// TestHTTPAPI runs the curl commands of docs/checker.md against the program with its self-signed
// certificate.
func TestHTTPAPI(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-api")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	port, err := cluster.FreePort()
	require.NoError(t, err)
	startController(t, plane.Kubeconfig(), append(watchOnly("readme-api"), fmt.Sprintf("--api-listen=127.0.0.1:%d", port))...)
	p.run("kubectl annotate ingress my-app maintenance/enabled=true maintenance/reason='a new database'")
	p.untilState("ingress/my-app", "active")
	lines := strings.NewReplacer(
		":8443", fmt.Sprintf(":%d", port), "curl ", "curl --silent --show-error --noproxy '*' ",
		"namespace=shop", "namespace=readme-api", "host=shop.example", "host=my-app.localhost", "/shop/payments", "/readme-api/payments",
	).Replace(blockOf(t, "docs/checker.md", "api-curl"))
	row := `{"kind":"Ingress","namespace":"readme-api","name":"my-app","hosts":["my-app.localhost"],"state":"active"`
	p.until(lines, func(out string) bool {
		return strings.Count(out, row) == 3 && strings.Contains(out, `"reason":"a new database","page":"default"`) &&
			strings.Contains(out, `"status":"up"`) && strings.Contains(out, "no ServiceChecker names Service readme-api/payments")
	})
	assert.NotContains(t, p.run(lines), `"Bad Request"`)
}
