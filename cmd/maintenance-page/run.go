package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/logging"
	"maintenance-controller.io/pkg/pageserver"
	"maintenance-controller.io/pkg/version"
)

// run serves until ctx ends and the drain is over.
func run(ctx context.Context, o options, logs io.Writer) error {
	logger, err := logging.New(logs, o.logFormat, o.logLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }()
	p, err := loadPage(o.pageDir, o.pageSet, o.contentHash)
	if err != nil {
		return err
	}
	config := pageserver.Config{Page: p, PageSet: o.pageSet}
	if o.accessLog {
		config.Log = accessLog(logger)
	}
	pages, err := pageserver.New(config)
	if err != nil {
		return err
	}
	server := httpserve.New(httpserve.Config{
		Handler:   pages,
		Memory:    boundMemory(logger),
		DrainTime: o.drain,
		OnDrain: func() {
			logger.Info("draining", zap.Duration("for", o.drain))
			pages.Drain()
		},
		OnPanic: func(value any, stack []byte) {
			logger.Error("a request panicked", zap.Any("panic", value), zap.ByteString("stack", stack))
		},
		ErrorLog: debugLog(logger),
	})
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if o.metricsListen != "" {
		stop, err := serveMetrics(ctx, o.metricsListen, func(w io.Writer) { writeMetrics(w, pages, server) })
		if err != nil {
			_ = listener.Close()
			return err
		}
		defer stop()
	}
	logger.Info("serving", zap.String("address", listener.Addr().String()), zap.String("page-set", o.pageSet),
		zap.Int("status", p.Status), zap.Int("bodies", len(p.Bodies)), zap.String("version", version.Version))
	err = server.Serve(ctx, listener)
	logger.Info("stopped")
	return err
}

// accessLog writes one line a request. zap escapes what clients sent.
func accessLog(logger *zap.Logger) func(pageserver.Access) {
	return func(a pageserver.Access) {
		logger.Info("request",
			zap.String("remote", a.Remote), zap.String("protocol", a.Protocol), zap.String("method", a.Method),
			zap.String("host", a.Host), zap.String("path", a.Path), zap.Int("status", a.Status), zap.Int("bytes", a.Bytes),
			zap.String("format", a.Format), zap.String("language", a.Language), zap.String("user-agent", a.UserAgent))
	}
}

// debugLog takes net/http's remarks, which are about what clients do wrong
// (broken handshakes, malformed requests): nobody here has to mend that.
func debugLog(logger *zap.Logger) *log.Logger {
	if std, err := zap.NewStdLogAt(logger, zap.DebugLevel); err == nil {
		return std
	}
	return log.New(io.Discard, "", 0)
}

// serveMetrics serves write's output under /metrics until stop is called, which
// is later than ctx ends.
func serveMetrics(ctx context.Context, address string, write func(io.Writer)) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(10 * time.Second))
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		write(w)
	})
	server := httpserve.New(httpserve.Config{Handler: mux, Memory: metricsMemory, HeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, StopTime: time.Second})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ctx, listener) // ends when it is told to
	}()
	return func() {
		cancel()
		<-done
	}, nil
}

// metricsMemory is for some dozen scrapers. Whoever reaches the page's Pods may
// reach this port as well, so that it is held to a bound just like the page.
const metricsMemory = 4 << 20
