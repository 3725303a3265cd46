package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed proxy.conf.tmpl
var proxyConf string

// bodySize is the size of the app's answer in bytes. It is small, so that the cost per request
// dominates.
const bodySize = 2 << 10

// startProxies starts an app, a bypass to it, and nginx in front of it twice: with a new
// connection for each request, and with reused connections.
func startProxies(ctx context.Context, dir string, s settings) (ours *server, theirs []*server, stop func(), err error) {
	var running []*server
	stop = func() {
		for _, s := range running {
			s.stop()
		}
	}
	run := func(s *server, err error) (*server, error) {
		if err == nil {
			running = append(running, s)
		}
		return s, err
	}
	app, err := run(startProxy(ctx, filepath.Join(dir, "app"), "app", map[string]any{"Body": strings.Repeat("x", bodySize)}))
	if err != nil {
		return nil, nil, stop, err
	}
	if ours, err = run(startBypass(ctx, dir, s, app)); err != nil {
		return nil, nil, stop, err
	}
	for i, name := range []string{"nginx", "nginx, keepalive"} {
		keep := i == 1
		proxy, err := run(startProxy(ctx, filepath.Join(dir, fmt.Sprint("proxy", i)), name, map[string]any{"App": app.address, "Keep": keep}))
		if err != nil {
			return nil, nil, stop, err
		}
		theirs = append(theirs, proxy)
	}
	return ours, theirs, stop, nil
}

func startProxy(ctx context.Context, dir, name string, values map[string]any) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	values["Dir"], values["Address"] = dir, address
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // nginx's workers run as another user
		return nil, err
	}
	conf, err := os.Create(filepath.Join(dir, "nginx.conf"))
	if err != nil {
		return nil, err
	}
	if err := template.Must(template.New("").Parse(proxyConf)).Execute(conf, values); err != nil {
		return nil, err
	}
	if err := conf.Close(); err != nil {
		return nil, err
	}
	return launch(ctx, name, address, exec.CommandContext(ctx, "nginx", "-c", conf.Name(), "-e", filepath.Join(dir, "nginx.log")))
}

// startBypass starts maintenance-page with a bypass that lets everybody read. Since the port of
// a bypass is fixed, the server gets its own loopback address.
func startBypass(ctx context.Context, dir string, s settings, app *server) (*server, error) {
	host, port, err := net.SplitHostPort(app.address)
	if err != nil {
		return nil, err
	}
	page := filepath.Join(dir, "page")
	if err := os.CopyFS(page, os.DirFS(s.pageDir)); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf(`{"version":1,"readOnly":true,"doors":[{"name":"d1","scheme":"http","host":%q,"port":%s}]}`, host, port)
	if err := os.WriteFile(filepath.Join(page, "access.json"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	hash, err := contentHash(page)
	if err != nil {
		return nil, err
	}
	own := fmt.Sprintf("127.9.%d.%d", os.Getpid()%251, 1+os.Getpid()/251%251)
	return launch(ctx, "maintenance-page", own+":8101", exec.CommandContext(ctx, s.binary, "--page-dir="+page, "--page-set=maintenance-"+hash[:16], "--listen="+own+":8080", "--metrics-listen=", "--drain=0s"))
}

// contentHash returns the hash that is in the name of a page set with the folder's files.
func contentHash(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	data := map[string]string{}
	for _, entry := range entries {
		body, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return "", err
		}
		data[entry.Name()] = string(body)
	}
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		for _, s := range []string{key, data[key]} {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			sum.Write([]byte(s))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
