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
	doorPort              func(access.Door) int // not a flag: the ports of doors in tests
}

// parse reads the flags from args, and the others from environment variables. It writes the
// help to help if args ask for it.
func parse(args []string, env func(string) (string, bool), help io.Writer) (options, error) {
	var o options
	flags := pflag.NewFlagSet("maintenance-page", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringVar(&o.pageDir, "page-dir", "/page", "folder with the page's files: page.html, page.json, …, status, retry-after")
	flags.StringVar(&o.pageSet, "page-set", "", "name of the page set, maintenance-<16 hex digits> (required). The digits begin the hash that the files must have, unless --content-hash gives it")
	flags.StringVar(&o.contentHash, "content-hash", "", "SHA-256 that the files must have, 64 hex digits; empty = take it from --page-set")
	flags.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", page.Port), "address for HTTP/1.1, HTTP/2 without TLS, and TLS, all on one port")
	flags.StringVar(&o.metricsListen, "metrics-listen", ":9090", "address for Prometheus metrics under /metrics; empty = none")
	flags.DurationVar(&o.drain, "drain", 10*time.Second, "how long to keep answering requests after SIGTERM, while the readiness probe already fails")
	flags.StringVar(&o.bypassDir, "bypass-dir", "/bypass", "folder with the tokens that let people through to the app, in the file "+access.SecretKey+"; read only if the page set lets people through")
	flags.DurationVar(&o.cookieLifetime, "bypass-cookie-lifetime", bypass.DefaultLifetime, "how long opening a link with a token lets a person through, 1m to 8760h")
	flags.BoolVar(&o.accessLog, "access-log", false, "log every request")
	flags.StringVar(&o.logFormat, "log-format", logging.JSON, "json or console")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	err := flagenv.Parse(flags, args, env, variable)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(help, "Answers every request with the maintenance page in a folder.\n\nEvery flag can also be set by an environment variable: --page-dir is %s, --drain is %s. A flag wins.\n\nUsage: maintenance-page [flags]\n\n%s",
			variable("page-dir"), variable("drain"), flags.FlagUsagesWrapped(120))
	}
	if err != nil || o.showVersion {
		return o, err
	}
	return o, o.validate()
}

// variable is the name of a flag's environment variable: MAINTENANCE_PAGE_DIR for --page-dir,
// MAINTENANCE_PAGE_DRAIN for --drain.
func variable(flag string) string {
	return flagenv.Variable("MAINTENANCE_PAGE_", strings.TrimPrefix(flag, "page-"))
}

func (o options) validate() error {
	switch {
	case o.pageSet == "":
		return fmt.Errorf("--page-set (or %s) is missing: give the name of the page set", variable("page-set"))
	case !page.IsSetName(o.pageSet):
		return fmt.Errorf("--page-set is %q: give maintenance- followed by 16 hex digits", o.pageSet)
	case o.contentHash != "" && !isSHA256(o.contentHash):
		return fmt.Errorf("--content-hash is %q: give 64 hex digits", o.contentHash)
	case o.pageDir == "":
		return errors.New("--page-dir is empty: give the folder with the page's files")
	case o.listen == "":
		return fmt.Errorf("--listen is empty: give an address such as :%d", page.Port)
	case o.cookieLifetime < time.Minute || o.cookieLifetime > maxCookieLifetime:
		return fmt.Errorf("--bypass-cookie-lifetime is %s: give 1m to %s", o.cookieLifetime, maxCookieLifetime)
	case o.drain < 0:
		return fmt.Errorf("--drain is %s: give 0 or more", o.drain)
	}
	return nil
}

const maxCookieLifetime = 365 * 24 * time.Hour

func isSHA256(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == sha256.Size
}
