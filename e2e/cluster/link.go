package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// errSlotTaken means that another cluster holds the slot.
var errSlotTaken = errors.New("another cluster has this slot")

// claim links the first sandbox to the host in a free slot. The link's name claims the
// slot: the kernel allows it only once.
func claim(first *sandbox) (slot, error) {
	for s := range slot(slots) {
		taken, err := s.taken()
		if err != nil {
			return 0, err
		}
		if taken {
			continue
		}
		switch err := s.linkHost(0, first); {
		case errors.Is(err, errSlotTaken):
		case err != nil:
			return 0, err
		default:
			return s, nil
		}
	}
	return 0, fmt.Errorf("find addresses for a cluster: clusters or routes of this machine use all %d slots; stop a cluster (make down)", slots)
}

// linkHost connects a node to the host. The host then reaches the node's Pods, and all
// Services through the first node.
func (s slot) linkHost(node int, n *sandbox) error {
	host, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open the machine's network: %w", err)
	}
	defer host.Close()
	inside, err := n.network()
	if err != nil {
		return err
	}
	defer inside.Close()
	const eth = "eth0"
	if err := addVeth(host, s.hostLink(node), eth, n.init.Pid()); err != nil {
		return err
	}
	if err := setUp(host, s.hostLink(node), s.hostIP(node)); err != nil {
		return err
	}
	if err := setUp(inside, "lo", ""); err != nil {
		return err
	}
	if err := setUp(inside, eth, s.nodeIP(node)); err != nil {
		return err
	}
	if err := addRoute(inside, "0.0.0.0/0", s.hostIP(node)); err != nil {
		return err
	}
	if node == 0 {
		if err := addRoute(host, s.serviceCIDR(), s.nodeIP(node)); err != nil {
			return err
		}
	}
	return addRoute(host, s.podCIDR(node), s.nodeIP(node))
}

// linkNodes connects two nodes, a < b.
func (s slot) linkNodes(a, b int, nodeA, nodeB *sandbox) error {
	handleA, err := nodeA.network()
	if err != nil {
		return err
	}
	defer handleA.Close()
	handleB, err := nodeB.network()
	if err != nil {
		return err
	}
	defer handleB.Close()
	linkA, linkB := fmt.Sprintf("to-node-%d", b+1), fmt.Sprintf("to-node-%d", a+1)
	if err := addVeth(handleA, linkA, linkB, nodeB.init.Pid()); err != nil {
		return err
	}
	ipA, ipB := s.peerIPs(a, b)
	if err := setUp(handleA, linkA, ipA); err != nil {
		return err
	}
	if err := setUp(handleB, linkB, ipB); err != nil {
		return err
	}
	for _, r := range []struct {
		from     *netlink.Handle
		dst, via string
	}{
		{handleA, s.podCIDR(b), ipB}, {handleA, s.nodeIP(b) + "/32", ipB},
		{handleB, s.podCIDR(a), ipA}, {handleB, s.nodeIP(a) + "/32", ipA},
	} {
		if err := addRoute(r.from, r.dst, r.via); err != nil {
			return err
		}
	}
	return nil
}

// network opens the sandbox's network from outside.
func (s *sandbox) network() (*netlink.Handle, error) {
	ns, err := netns.GetFromPid(s.init.Pid())
	if err != nil {
		return nil, fmt.Errorf("open the network of %s: %w", s.name, err)
	}
	defer func() { _ = ns.Close() }() // the handle keeps its own socket
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("open the network of %s: %w", s.name, err)
	}
	return h, nil
}

func addVeth(h *netlink.Handle, name, peer string, peerPid int) error {
	link := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer, PeerNamespace: netlink.NsPid(peerPid),
	}
	switch err := h.LinkAdd(link); {
	case errors.Is(err, os.ErrExist):
		return errSlotTaken
	case err != nil:
		return fmt.Errorf("add link %s: %w", name, err)
	}
	return nil
}

// setUp gives a link an address of a /30, if ip is not empty, and starts it.
func setUp(h *netlink.Handle, name, ip string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if ip != "" {
		address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(30, 32)}}
		if err := h.AddrAdd(link, address); err != nil {
			return fmt.Errorf("give link %s the address %s: %w", name, ip, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("start link %s: %w", name, err)
	}
	return nil
}

func addRoute(h *netlink.Handle, cidr, via string) error {
	_, dst, err := net.ParseCIDR(cidr)
	if err != nil {
		return fmt.Errorf("parse %s: %w", cidr, err)
	}
	if err := h.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("add a route to %s via %s: %w", cidr, via, err)
	}
	return nil
}
