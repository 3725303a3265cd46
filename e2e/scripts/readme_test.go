package scripts

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/program"
)

// Namespaces of these tests are not shared: a controller would act on the
// targets of another test.
func onlyIn(namespace string) []string {
	return []string{"--leader-elect=false", "--watch-namespaces=" + namespace}
}

func TestWaitForTheStates(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-wait")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	startController(t, plane.Kubeconfig(), onlyIn("readme-wait")...)
	p.run(block(t, "wait"))
	assert.Contains(t, p.run(fmt.Sprintf(specOf, "ingress/my-app")), `"name":"my-app"`)
	p.run("kubectl annotate ingress my-app maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	out := p.run(block(t, "one-liner"))
	assert.Regexp(t, `(?m)^Ingress readme-wait/my-app active since 20\d\d-`, out)
	assert.NotContains(t, out, "readme-wait/shop", "it is not in maintenance")
}

func TestCustomPage(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-page")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	p.give(block(t, "page"), "kubectl apply -f -")
	t.Cleanup(func() { _, _ = p.try("kubectl -n maintenance-system delete configmap page-spring") })
	startController(t, plane.Kubeconfig(), onlyIn("readme-page")...)
	p.run("kubectl annotate ingress my-app maintenance/enabled=true maintenance/custom-page=spring")
	p.untilState("ingress/my-app", "active")
	out := p.run("kubectl get events --field-selector reason=MaintenanceStarted -o custom-columns=M:.message")
	assert.Contains(t, out, `page "spring"`)
}

func TestRestoreByCommand(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-restore-command")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	stop := startController(t, plane.Kubeconfig(), onlyIn("readme-restore-command")...)
	p.run("kubectl annotate ingress/my-app maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	stop()
	path, err := program.Path()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(path, filepath.Join(bin, "maintenance-controller")))
	out := p.run("PATH=" + bin + ":$PATH\n" + block(t, "restore-command"))
	assert.Contains(t, out, "+            name: my-app")
	assert.Contains(t, out, "restored   Ingress readme-restore-command/my-app")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
}

func TestRestoreByHand(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-restore")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	before := map[string]string{}
	for _, object := range []string{"ingress/my-app", "ingressroute/shop"} {
		before[object] = p.run(fmt.Sprintf(specOf, object))
	}
	stop := startController(t, plane.Kubeconfig(), onlyIn("readme-restore")...)
	for object := range before {
		p.run("kubectl annotate " + object + " maintenance/enabled=true")
		p.untilState(object, "active")
	}
	stop()

	for line := range strings.Lines(p.run(block(t, "restore-read"))) {
		assert.Contains(t, line, `"value":{"service":{"name":"my-app","port":{"number":80}}}`)
	}
	p.run(block(t, "restore-write"))
	p.run(block(t, "restore-finish"))
	for object, spec := range before {
		assert.Equal(t, spec, p.run(fmt.Sprintf(specOf, object)), object)
		assert.NotContains(t, p.run("kubectl get "+object+" -o jsonpath='{.metadata.annotations}'"), "maintenance/")
	}
	p.until("kubectl get configmaps,services,poddisruptionbudgets -l app.kubernetes.io/managed-by=maintenance-controller -o name",
		func(out string) bool { return out == "" })

	// Should the controller come back, it finds nothing to do; and it tidies up
	// what was restored only as far as step 5.
	p.run("kubectl annotate ingress my-app maintenance/state=active maintenance/page-set=maintenance-0123456789abcdef")
	startController(t, plane.Kubeconfig(), onlyIn("readme-restore")...)
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before["ingress/my-app"], p.run(fmt.Sprintf(specOf, "ingress/my-app")))
}

// installed applies the manifest as the README says.
func installed(p *person) {
	p.Helper()
	p.run(block(p.T, "install"))
	p.Cleanup(func() {
		_, _ = p.try("kubectl delete -f deploy/manifests/install.yaml --ignore-not-found --wait=false")
		_, _ = p.try("kubectl wait --for=delete namespace/maintenance-system --timeout=30s")
	})
}

func TestInstall(t *testing.T) {
	p := newPerson(t)
	installed(p)
	out := p.run("kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0]}'")
	assert.Equal(t, 2, strings.Count(out, "registry.example/maintenance-controller:v1"), out)
	assert.NotContains(t, out, ":dev")
}

// TestInstallWithHelm runs what the README says of the chart. The page that it names
// is read from a file.
func TestInstallWithHelm(t *testing.T) {
	p := newPerson(t)
	p.dir = t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(root(t), "deploy"), filepath.Join(p.dir, "deploy")))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "spring.html"), []byte("<h1>Spring, cleaning</h1>"), 0o600))
	p.run(block(t, "install-helm"))
	t.Cleanup(func() {
		_, _ = p.try("helm --namespace maintenance-system uninstall maintenance-controller --no-hooks; kubectl delete namespace maintenance-system --wait=false")
		_, _ = p.try("kubectl wait --for=delete namespace/maintenance-system --timeout=30s")
	})
	out := p.run("kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0]}'")
	assert.Equal(t, 2, strings.Count(out, "registry.example/maintenance-controller:v1"), out)
	page := p.run("kubectl -n maintenance-system get configmap -l maintenance/custom-page=spring -o jsonpath='{.items[*].data}'")
	assert.Equal(t, `{"page.html":"<h1>Spring, cleaning</h1>"}`, strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(page))
	out = p.run("helm template deploy/chart --set metrics.prometheusRule.enabled=true --show-only templates/metrics.yaml")
	assert.Contains(t, out, "alert: MaintenanceLong")
}

// TestOnlySomeNamespaces runs the controller with nothing but the rights that the
// README gives it there.
func TestOnlySomeNamespaces(t *testing.T) {
	p := newPerson(t)
	installed(p)
	p.traefik()
	p.inNamespace("shop")
	p.give(block(t, "namespaced"), "kubectl apply -f -")
	p.run(block(t, "namespaced-switch"))
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	p.give(strings.ReplaceAll(block(t, "page"), "page-spring", "page-x"), "kubectl apply -f -")
	kubeconfig, err := plane.KubeconfigFor("system:serviceaccount:maintenance-system:maintenance-controller", "system:serviceaccounts")
	require.NoError(t, err)
	startController(t, kubeconfig, "--watch-namespaces=shop")
	p.run("kubectl annotate ingress my-app maintenance/enabled=true maintenance/custom-page=spring; kubectl annotate ingressroute shop maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	p.untilState("ingressroute/shop", "active")
	p.run("kubectl annotate ingress/my-app ingressroute/shop maintenance/enabled-")
	p.untilState("ingress/my-app", "")
	p.untilState("ingressroute/shop", "")
	p.until("kubectl get configmaps -l app.kubernetes.io/managed-by=maintenance-controller -o name", func(out string) bool { return out == "" })
	allowed, _ := p.try("kubectl auth can-i list configmaps -n default --kubeconfig " + kubeconfig)
	assert.Equal(t, "no\n", allowed)
}

// TestKubectlApplyDuringMaintenance is what the README's GitOps section says of
// kubectl apply.
func TestKubectlApplyDuringMaintenance(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-gitops")
	const serverSide = "kubectl apply --server-side --field-manager=gitops -f e2e/demo/apps.yaml"
	p.run(serverSide)
	startController(t, plane.Kubeconfig(), onlyIn("readme-gitops")...)
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	p.run("kubectl annotate ingress my-app maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")

	out, err := p.try(serverSide)
	require.Error(t, err)
	assert.Contains(t, out, `conflict with "maintenance-controller"`)
	assert.Contains(t, out, ".spec.rules")

	p.run(serverSide + " --force-conflicts")
	p.until("kubectl get events --field-selector reason=BackendReverted -o custom-columns=M:.message", func(out string) bool {
		return strings.Contains(out, `"gitops"`)
	})
	p.until(fmt.Sprintf(specOf, "ingress/my-app"), func(out string) bool { return strings.Contains(out, `"maintenance-`) })

	p.run("kubectl annotate ingress my-app maintenance/enabled-")
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
	p.run(serverSide)
}

// TestHelmSwitchesMaintenance is what the README says of a chart with the annotation
// among its values.
func TestHelmSwitchesMaintenance(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-helm")
	p.dir = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(p.dir, "chart", "templates"), 0o700))
	for file, text := range map[string]string{
		"Chart.yaml":  "{apiVersion: v2, name: app, version: 1.0.0}",
		"values.yaml": "ingress: {annotations: {team: shop}}",
		"templates/ingress.yaml": `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .Release.Name }}
  annotations: {{- toYaml .Values.ingress.annotations | nindent 4 }}
spec:
  rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}]
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, "chart", file), []byte(text), 0o600))
	}
	startController(t, plane.Kubeconfig(), onlyIn("readme-helm")...)
	p.run("helm install my-app ./chart")
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	p.run(block(t, "helm-on"))
	assert.Contains(t, p.run(fmt.Sprintf(specOf, "ingress/my-app")), `"maintenance-`)
	p.run(block(t, "helm-off"))
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
}

func TestGenerated(t *testing.T) { newPerson(t).run("scripts/generate.sh --verify") }

// TestReadmeNamesWhatIsThere checks its links to files and sections, and the tests that
// it cites: in the table of promises, that each is in the folder that is named before it.
func TestReadmeNamesWhatIsThere(t *testing.T) {
	top := root(t)
	tests, within := map[string]bool{}, map[string]bool{}
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
			folder, err := filepath.Rel(top, filepath.Dir(path))
			require.NoError(t, err)
			within[folder+" "+m[1]] = true
		}
		return err
	}))
	for _, document := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/chart/README.md", "pages/README.md"} {
		raw, err := os.ReadFile(filepath.Join(top, document))
		require.NoError(t, err)
		for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(raw), -1) {
			assert.True(t, tests[name[1]], "%s cites %s", document, name[1])
		}
		for _, cited := range promised(string(raw)) {
			assert.True(t, within[cited], "%s cites, as a folder and a test in it: %s", document, cited)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(raw), -1) {
			file, section, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			path := filepath.Join(top, filepath.Dir(document), file)
			if file == "" {
				path = filepath.Join(top, document)
			}
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				continue
			}
			text, err := os.ReadFile(path)
			if assert.NoError(t, err, "%s links to %s", document, link[1]) && section != "" {
				assert.True(t, sections(string(text))[section], "%s links to %s", document, link[1])
			}
		}
	}
}

// promised lists the folder and the name of each test in the table of promises.
func promised(text string) (all []string) {
	_, table, found := strings.Cut(text, "| promise | proved by |")
	if !found {
		return nil
	}
	for row := range strings.Lines(table) {
		if row = strings.TrimSpace(row); row == "" {
			continue
		}
		if !strings.HasPrefix(row, "|") {
			break
		}
		folder := "no folder"
		for _, word := range regexp.MustCompile("`([^`]+)`(:?)").FindAllStringSubmatch(row[strings.LastIndex(strings.TrimSuffix(row, "|"), "|"):], -1) {
			if word[2] == ":" {
				folder = word[1]
			} else if strings.HasPrefix(word[1], "Test") {
				all = append(all, folder+" "+word[1])
			}
		}
	}
	return all
}

// sections are the anchors of a document's headings, as GitHub makes them.
func sections(text string) map[string]bool {
	all := map[string]bool{}
	text = regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(text, "")
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all[regexp.MustCompile(`[^\w-]`).ReplaceAllString(anchor, "")] = true
	}
	return all
}
