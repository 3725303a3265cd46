// Command grpc-app is an app that speaks gRPC: it has the standard health service and reports
// that it serves.
package main

import (
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "grpc-app:", err)
		os.Exit(1)
	}
}

func run() error {
	l, err := net.Listen("tcp", ":8080") //nolint:gosec // it runs alone in a Pod and serves until the Pod ends
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	return s.Serve(l)
}
