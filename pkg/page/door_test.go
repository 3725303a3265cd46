package page

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestPortsOfDoors(t *testing.T) {
	taken := map[int]bool{Port: true, ServicePort: true, 443: true, 9090: true}
	for n := 1; n <= MaxDoors; n++ {
		if taken[DoorPort(n)] {
			t.Errorf("port %d of door %d is taken", DoorPort(n), n)
		}
		taken[DoorPort(n)] = true
		for _, name := range []string{DoorPortName(n), DoorServicePortName(n)} {
			if problems := validation.IsValidPortName(name); len(problems) > 0 || strings.HasPrefix(name, "https") {
				t.Errorf("%q: %v", name, problems)
			}
		}
	}
}
