package pageapp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/bypass"
	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/logging"
	"maintenance-controller.io/pkg/page"
)

// options are the program's flags.
type options struct {
	pageDir, pageSet      string
	contentHash           string
	listen, metricsListen string
	drain                 time.Duration
	bypassDir             string
	cookieLifetime        time.Duration
	accessLog             bool
	logFormat, logLevel   string
	showVersion           bool
	doorPort              func(access.Door) int // no flag: where doors listen in tests
}

// parse reads args, then for each flag that is not given its environment variable.
func parse(args []string, env func(string) (string, bool), help io.Writer) (options, error) {
	var o options
	flags := pflag.NewFlagSet("maintenance-page", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringVar(&o.pageDir, "page-dir", "/page", "folder with the page's files: page.html, page.json, …, status, retry-after")
	flags.StringVar(&o.pageSet, "page-set", "", "name of the page set, maintenance-<16 hex digits>; the files must have this hash, unless --content-hash says which (required)")
	flags.StringVar(&o.contentHash, "content-hash", "", "SHA-256 that the files must have, 64 hex digits, where the name of the page set does not tell it")
	flags.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", page.Port), "address for HTTP/1.1, HTTP/2 in cleartext and TLS, all on one port")
	flags.StringVar(&o.metricsListen, "metrics-listen", ":9090", "address for Prometheus metrics under /metrics; empty for none")
	flags.DurationVar(&o.drain, "drain", 10*time.Second, "how long requests go on being answered after SIGTERM, while readiness already fails")
	flags.StringVar(&o.bypassDir, "bypass-dir", "/bypass", "folder with the tokens that let people through to the app, in the file "+access.SecretKey+"; read only if the page's settings ask for it")
	flags.DurationVar(&o.cookieLifetime, "bypass-cookie-lifetime", bypass.DefaultLifetime, "how long a link lets somebody through, from 1m to 8760h")
	flags.BoolVar(&o.accessLog, "access-log", false, "log every request")
	flags.StringVar(&o.logFormat, "log-format", logging.JSON, "json or console")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	err := flagenv.Parse(flags, args, env, variable)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(help, "maintenance-page answers every request with the maintenance page in a folder.\n\nEvery flag has an environment variable, such as %s for --page-dir and %s for --drain.\n\n%s",
			variable("page-dir"), variable("drain"), flags.FlagUsages())
	}
	if err != nil || o.showVersion {
		return o, err
	}
	return o, o.validate()
}

// variable is a flag's environment variable: MAINTENANCE_PAGE_DIR for
// --page-dir, MAINTENANCE_PAGE_DRAIN for --drain.
func variable(flag string) string {
	return flagenv.Variable("MAINTENANCE_PAGE_", strings.TrimPrefix(flag, "page-"))
}

func (o options) validate() error {
	switch {
	case o.pageSet == "":
		return fmt.Errorf("--page-set (or %s) is missing: give the page set's name", variable("page-set"))
	case !page.IsSetName(o.pageSet):
		return fmt.Errorf("--page-set is %q: give maintenance- and 16 hex digits", o.pageSet)
	case o.contentHash != "" && !isSHA256(o.contentHash):
		return fmt.Errorf("--content-hash is %q: give 64 hex digits", o.contentHash)
	case o.pageDir == "":
		return errors.New("--page-dir is empty: give the folder with the page's files")
	case o.listen == "":
		return fmt.Errorf("--listen is empty: give an address such as :%d", page.Port)
	case o.cookieLifetime < time.Minute || o.cookieLifetime > longestCookie:
		return fmt.Errorf("--bypass-cookie-lifetime is %s: give 1m to %s", o.cookieLifetime, longestCookie)
	case o.drain < 0:
		return fmt.Errorf("--drain is %s: give 0 or more", o.drain)
	}
	return nil
}

const longestCookie = 365 * 24 * time.Hour

func isSHA256(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == sha256.Size
}
