package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

//go:embed nginx.conf.tmpl
var nginxConf string

// requestHeader is what a browser sends.
var requestHeader = map[string]string{
	"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"Accept-Encoding": "gzip, deflate",
	"Accept-Language": "de-DE,de;q=0.9,en;q=0.8",
	"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}

type server struct {
	name, address string
	process       *exec.Cmd
}

func startPage(ctx context.Context, s settings) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return launch(ctx, "maintenance-page", address, exec.CommandContext(ctx, s.binary, "--page-dir="+s.pageDir, "--page-set="+s.pageSet, "--listen="+address, "--metrics-listen=", "--drain=0s"))
}

// startNginx starts nginx with the page and the response headers of maintenance-page.
func startNginx(ctx context.Context, dir string, s settings, page *server) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	given, err := page.get(ctx)
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	for name := range given.header {
		switch name {
		case "Date", "Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Connection":
		default:
			header[name] = given.header.Get(name)
		}
	}
	bodies := filepath.Join(dir, "bodies")
	languages, err := copyBodies(ctx, s.pageDir, bodies)
	if err != nil {
		return nil, err
	}
	conf, err := os.Create(filepath.Join(dir, "nginx.conf"))
	if err != nil {
		return nil, err
	}
	err = template.Must(template.New("").Parse(nginxConf)).Execute(conf, map[string]any{
		"Dir": dir, "Address": address, "PageDir": bodies, "Languages": languages, "Header": header, "Status": given.status})
	if err != nil {
		return nil, err
	}
	if err := conf.Close(); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx's workers run as another user
		return nil, err
	}
	return launch(ctx, "nginx", address, exec.CommandContext(ctx, "nginx", "-c", conf.Name(), "-e", filepath.Join(dir, "nginx.log")))
}

// copyBodies copies the bodies to a folder that nginx's workers can read, each also as gzip, and
// returns their languages.
func copyBodies(ctx context.Context, from, to string) (languages []string, err error) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(from, "page.*.*"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := filepath.Join(to, filepath.Base(path))
		if err := os.WriteFile(name, body, 0o644); err != nil { //nolint:gosec // nginx's workers run as another user
			return nil, err
		}
		if out, err := exec.CommandContext(ctx, "gzip", "-9", "--keep", name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("gzip: %w: %s", err, out)
		}
		if parts := strings.Split(filepath.Base(path), "."); parts[2] == "html" {
			languages = append(languages, parts[1])
		}
	}
	return languages, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// launch starts a server and waits until it answers.
func launch(ctx context.Context, name, address string, c *exec.Cmd) (*server, error) {
	c.Stderr = io.Discard
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w (Debian: apt-get install nginx-light wrk)", name, err)
	}
	s := &server{name, address, c}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := s.get(ctx)
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("%s does not answer: %w", name, err)
		}
	}
}

func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
}

// answer is a server's answer to a browser.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *server) get(ctx context.Context) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/", nil)
	if err != nil {
		return answer{}, err
	}
	for name, value := range requestHeader {
		request.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, body}, err
}

// sameAnswers checks that both servers send the same status and headers, so that the comparison is fair.
func sameAnswers(ctx context.Context, a, b *server) error {
	x, err := a.get(ctx)
	if err != nil {
		return err
	}
	y, err := b.get(ctx)
	if err != nil {
		return err
	}
	if x.status != y.status {
		return fmt.Errorf("%s answers %d, %s %d", a.name, x.status, b.name, y.status)
	}
	for name := range x.header {
		switch name {
		case "Date", "Content-Length", "Retry-After", // Retry-After is random, and gzip implementations differ in length
			"Maintenance-Bypass": // only the bypass sends it
		default:
			if got, want := y.header.Get(name), x.header.Get(name); got != want {
				return fmt.Errorf("%s: %s answers %q, %s %q", name, a.name, want, b.name, got)
			}
		}
	}
	fmt.Printf("%s sends %d bytes of body, %s %d\n", a.name, len(x.body), b.name, len(y.body))
	return nil
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkAll  = regexp.MustCompile(`(\d+) requests in`)
	wrkP    = regexp.MustCompile(`(?m)^\s+(50|99)%\s+(\S+)$`)
	wrkErr  = regexp.MustCompile(`Socket errors:.*`)
)

// load runs wrk against the server for one turn.
func (s *server) load(ctx context.Context, connections int, duration time.Duration) (result, error) {
	args := []string{"-t2", "-c" + strconv.Itoa(connections), "-d" + duration.String(), "--latency"}
	for name, value := range requestHeader {
		args = append(args, "-H", name+": "+value)
	}
	before := s.usage().cpu
	out, err := exec.CommandContext(ctx, "wrk", append(args, "http://"+s.address+"/")...).CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w: %s (Debian: apt-get install wrk)", err, out)
	}
	if m := wrkErr.Find(out); m != nil {
		return result{}, fmt.Errorf("wrk on %s: %s", s.name, m)
	}
	after := s.usage()
	var r result
	r.perSecond, err = strconv.ParseFloat(find(wrkRate, out), 64)
	if err != nil {
		return r, fmt.Errorf("unexpected output of wrk: %s", out)
	}
	all, err := strconv.Atoi(find(wrkAll, out))
	if err != nil || all == 0 {
		return r, fmt.Errorf("unexpected output of wrk: %s", out)
	}
	for _, m := range wrkP.FindAllStringSubmatch(string(out), -1) {
		d, err := time.ParseDuration(m[2])
		if err != nil {
			return r, err
		}
		if m[1] == "50" {
			r.p50 = d
		} else {
			r.p99 = d
		}
	}
	r.cpu, r.rss = (after.cpu-before)/time.Duration(all), after.rss
	return r, nil
}

func find(re *regexp.Regexp, b []byte) string {
	if m := re.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

type usage struct {
	cpu time.Duration
	rss int // KiB
}

// usage sums up the process and its children: nginx has worker processes.
func (s *server) usage() usage {
	var sum usage
	pids := []string{strconv.Itoa(s.process.Process.Pid)}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]s/task/%[1]s/children", pids[0]))
	for _, pid := range append(pids, strings.Fields(string(children))...) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		const tick = 10 * time.Millisecond // USER_HZ is 100 on all of Linux's ports
		for _, i := range []int{11, 12} {  // utime and stime in proc(5), counted from the state
			n, _ := strconv.Atoi(fields[i])
			sum.cpu += time.Duration(n) * tick
		}
		pages, _ := strconv.Atoi(fields[21])
		sum.rss += pages * os.Getpagesize() >> 10
	}
	return sum
}
