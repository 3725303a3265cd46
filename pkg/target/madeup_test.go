package target_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// tunnel is a made-up kind: exits, each to a Service by its name.
func tunnel() target.Kind {
	return target.Kind{
		Name: "Tunnel", Resource: madeUp.WithResource("tunnels"), Custom: true,
		Slots: tunnelSlots, Hosts: tunnelHosts, Classes: func(map[string]any, func(string, string) (string, bool)) ([]string, bool) { return nil, false },
	}
}

func tunnelSlots(object map[string]any) ([]swap.Slot, error) {
	exits, ok := follow(object, []any{"spec", "exits"}).([]any)
	if !ok {
		return nil, fmt.Errorf("exits are %s", reflect.TypeOf(follow(object, []any{"spec", "exits"})))
	}
	var slots []swap.Slot
	for i, exit := range exits {
		name, ok1 := follow(exit, []any{"name"}).(string)
		to, ok2 := follow(exit, []any{"to", "name"}).(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("exit %d leads nowhere", i)
		}
		s := swap.Slot{ID: swap.ID{Type: "exit", Path: name}, Path: []any{"spec", "exits", i, "to"}, Value: follow(exit, []any{"to"}), Page: func(set string, _ any) any { return exitTo(set) }, Check: checkExit, Backends: exitBackends}
		if page.IsSetName(to) {
			s.PageSet = to
		}
		s.Upstreams = exitUpstreams
		s.WithDoors = func(d swap.Doors) swap.Slot { return exitThrough(s, d) }
		slots = append(slots, s)
	}
	return slots, nil
}

func tunnelHosts(object map[string]any) (hosts []target.Host) {
	doors, _ := follow(object, []any{"spec", "doors"}).([]any)
	for _, door := range doors {
		hosts = append(hosts, target.ParseHost(fmt.Sprint(door)))
	}
	return hosts
}

func checkExit(value any) error {
	if to, ok := follow(value, []any{"name"}).(string); !ok || to == "" || strings.ContainsAny(to, "$()") || page.IsSetName(to) {
		return fmt.Errorf("%v is no exit", value)
	}
	return nil
}

func exitBackends(value any) []swap.Backend {
	name, _ := follow(value, []any{"name"}).(string)
	return []swap.Backend{{Name: name, Weight: 1}}
}

func exitUpstreams(value any) []swap.Upstream {
	name, ok := follow(value, []any{"name"}).(string)
	if !ok {
		return nil
	}
	return []swap.Upstream{{Service: name}}
}

func exitThrough(s swap.Slot, d swap.Doors) swap.Slot {
	s.Page = func(set string, original any) any {
		to := exitTo(set)
		for _, up := range exitUpstreams(original) {
			if n := d.To(set, up); n > 0 {
				to["port"] = int64(8100 + n)
			}
		}
		return to
	}
	s.Fit = func(want any) swap.Fit {
		port, _ := follow(s.Value, []any{"port"}).(int64)
		switch {
		case reflect.DeepEqual(s.Value, want), s.PageSet != d.Exact && len(s.Value.(map[string]any)) == 2 && d.Has(s.PageSet, int(port-8100)):
			return swap.Exact
		case reflect.DeepEqual(s.Value, exitTo(s.PageSet)), port == 80:
			return swap.Near
		}
		return swap.Mismatch
	}
	return s
}

func exitTo(name string) map[string]any { return map[string]any{"name": name} }

func eachSlot(k *target.Kind, change func(*swap.Slot)) {
	slots := k.Slots
	k.Slots = func(object map[string]any) ([]swap.Slot, error) {
		found, err := slots(object)
		for i := range found {
			change(&found[i])
		}
		return found, err
	}
}

func tunnels(k target.Kind) example {
	return example{
		kind: k, list: "exits",
		fresh: func(_ *rand.Rand, name string) any { return map[string]any{"name": name, "to": exitTo("new")} },
		generate: func(rnd *rand.Rand) map[string]any {
			exits := []any{}
			for i := range rnd.IntN(4) {
				exits = append(exits, map[string]any{"name": fmt.Sprint("exit-", i), "to": exitTo(fmt.Sprint("svc-", rnd.IntN(3)))})
			}
			return map[string]any{"apiVersion": "example.com/v1", "kind": "Tunnel", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"exits": exits, "doors": []any{"a.example"}}}
		},
		serve: func(object map[string]any, host string) { addTo(object, "doors", host) },
	}
}
