// Package pageapp wires the page server's program: it turns flags into configuration and runs
// the parts. It is to maintenance-page what pkg/app is to maintenance-controller.
package pageapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"maintenance-controller.io/pkg/adminserver"
	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/logging"
	"maintenance-controller.io/pkg/pageserver"
	"maintenance-controller.io/pkg/part"
	"maintenance-controller.io/pkg/version"
)

// Main runs the page server until ctx ends, and returns the exit code: 0 after a stop or
// --help, 1 after an error, 2 for invalid flags.
func Main(ctx context.Context, p flagenv.Process) int {
	o, err := parse(p.Args, p.Env, p.Stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(p.Stderr, "maintenance-page: %v\nSee maintenance-page --help.\n", err)
		return 2
	case o.showVersion:
		fmt.Fprintln(p.Stdout, "maintenance-page", version.String())
		return 0
	}
	if err := run(ctx, o, p.Stderr); err != nil {
		fmt.Fprintln(p.Stderr, "maintenance-page:", err)
		return 1
	}
	return 0
}

// run serves until ctx ends and the drain is over.
func run(ctx context.Context, o options, logs io.Writer) error {
	logger, err := logging.New(logs, o.logFormat, o.logLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }()
	c, err := load(o.pageDir, o.pageSet, o.contentHash)
	if err != nil {
		return err
	}
	config := pageserver.Config{Page: c.page, PageSet: o.pageSet}
	if o.accessLog {
		config.Log = accessLog(logger)
	}
	pages, err := pageserver.New(config)
	if err != nil {
		return err
	}
	doors := newDoors(c.access, o, pages, logger)
	server := httpserve.New(httpserve.Config{
		Handler:   doors.handler(pages),
		Memory:    boundMemory(logger),
		DrainTime: o.drain,
		StopTime:  doors.stopTime(),
		OnDrain: func() {
			logger.Info("draining", zap.Duration("for", o.drain))
			pages.Drain()
			doors.drain()
		},
		OnPanic: func(value any, stack []byte) {
			logger.Error("a request panicked", zap.Any("panic", value), zap.ByteString("stack", stack))
		},
		ErrorLog: debugLog(logger),
	})
	metrics := http.NewServeMux()
	metrics.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeMetrics(w, pages, server)
		doors.writeMetrics(w)
	})
	doors.route(metrics)
	serve := func(ctx context.Context) error {
		listeners, err := doors.listen(ctx, o.listen)
		if err != nil {
			return err
		}
		logger.Info("serving", zap.String("address", listeners[0].Addr().String()), zap.String("page-set", o.pageSet),
			zap.Int("status", c.page.Status), zap.Int("bodies", len(c.page.Bodies)), zap.Int("doors", len(c.access.Doors)), zap.String("version", version.Version))
		return server.Serve(ctx, listeners...)
	}
	err = part.Run(ctx, []part.Part{
		{Run: httpserve.Port{Flag: "metrics-listen", Address: o.metricsListen, Handler: metrics, AnswerTimeout: 10 * time.Second, Memory: adminserver.Memory}.Run},
		{Run: doors.follow(o.bypassDir)},
		{Leader: true, Run: serve}, // it stops first, so that there are metrics during the drain
	}, part.AlwaysLead)
	logger.Info("stopped")
	return err
}

// accessLog writes a line for each request. zap escapes what clients sent.
func accessLog(logger *zap.Logger) func(pageserver.Access) {
	return func(a pageserver.Access) {
		logger.Info("request",
			zap.String("remote", a.Remote), zap.String("protocol", a.Protocol), zap.String("method", a.Method),
			zap.String("host", a.Host), zap.String("path", a.Path), zap.Int("status", a.Status), zap.Int("bytes", a.Bytes),
			zap.String("format", a.Format), zap.String("language", a.Language), zap.String("user-agent", a.UserAgent))
	}
}

// debugLog gets net/http's remarks at debug level: they are about clients (broken handshakes,
// malformed requests), and nobody here can fix those.
func debugLog(logger *zap.Logger) *log.Logger {
	if std, err := zap.NewStdLogAt(logger, zap.DebugLevel); err == nil {
		return std
	}
	return log.New(io.Discard, "", 0)
}
