package cluster

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// maxNodes is how many nodes the addresses below have room for.
const maxNodes = 4

// slots is how many clusters with nodes fit side by side on one machine.
const slots = 8

// slot is one of the places for a cluster with nodes: it has network addresses and
// names that no other slot has.
//
//	10.231.<slot>.0/24      links: a /30 from the host to each node, and, from .128
//	                        on, a /30 from each node to each other
//	10.<232+slot>.<n>.0/24  Pods of the n-th node
//	10.<240+slot>.0.0/16    Services
//
// Nodes talk to each other and to the host over links of their own, so nothing is
// forwarded by the host, whose firewall and ip_forward stay as they are.
type slot int

func (s slot) hostIP(node int) string   { return fmt.Sprintf("10.231.%d.%d", s, 4*node+1) }
func (s slot) nodeIP(node int) string   { return fmt.Sprintf("10.231.%d.%d", s, 4*node+2) }
func (s slot) podCIDR(node int) string  { return fmt.Sprintf("10.%d.%d.0/24", 232+s, node) }
func (s slot) clusterCIDR() string      { return fmt.Sprintf("10.%d.0.0/16", 232+s) }
func (s slot) serviceCIDR() string      { return fmt.Sprintf("10.%d.0.0/16", 240+s) }
func (s slot) serviceIP() string        { return fmt.Sprintf("10.%d.0.1", 240+s) }
func (s slot) dnsIP() string            { return fmt.Sprintf("10.%d.0.10", 240+s) }
func (s slot) hostLink(node int) string { return fmt.Sprintf("mnte2e-%d-%d", s, node+1) }
func (s slot) cgroup(node int) string   { return fmt.Sprintf("maintenance-e2e-%d-%d", s, node+1) }

// peerIPs returns the two ends of the link between two nodes, a < b.
func (s slot) peerIPs(a, b int) (ofA, ofB string) {
	at := 128 + 4*(a*maxNodes+b)
	return fmt.Sprintf("10.231.%d.%d", s, at+1), fmt.Sprintf("10.231.%d.%d", s, at+2)
}

// taken reports whether a route of this machine, for example a VPN's or another
// cluster's, covers an address of the slot.
func (s slot) taken() (bool, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, fmt.Errorf("list the machine's routes: %w", err)
	}
	for _, cidr := range []string{fmt.Sprintf("10.231.%d.0/24", s), s.clusterCIDR(), s.serviceCIDR()} {
		_, own, err := net.ParseCIDR(cidr)
		if err != nil {
			return false, fmt.Errorf("parse %s: %w", cidr, err)
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			if ones, _ := r.Dst.Mask.Size(); ones > 0 && (own.Contains(r.Dst.IP) || r.Dst.Contains(own.IP)) {
				return true, nil
			}
		}
	}
	return false, nil
}
