// Package cluster runs a real Kubernetes on this machine, for tests and for the
// demo, in two tiers:
//
//   - StartControlPlane runs etcd, the API server and the controller-manager on the
//     loopback. It needs no root and is ready in a few seconds. It covers everything that
//     the API server decides: conflicts, admission, RBAC, field ownership.
//   - Start adds nodes, which need root: containerd, kubelet and kube-proxy, each
//     node in namespaces of its own, and Traefik in front.
//
// Nothing is installed on the machine. Everything ends with the process that started it.
package cluster
