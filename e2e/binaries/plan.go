package binaries

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// part is what progress shows as one line: the programs of one module, or those of
// this source tree.
type part struct {
	name string
	// cost is roughly how long the part takes alone on two cores after the parts before
	// it. It weighs the parts against each other; progress corrects it by the speed of
	// this machine.
	cost time.Duration
	// compiles are fetched beforehand, while other parts are built.
	compiles []compile
	build    func(ctx context.Context, seen func(line string)) error
}

// ownCost is the cost of this tree's own programs. They come first, and compile what
// they share with the programs of e2e/build.
const ownCost = 100 * time.Second

// plan makes a part of each module. The longest comes first: with two builds side by
// side it would otherwise end long after the others. It also comes before those that
// share packages with it, which Go then takes from its cache.
func (c *Cache) plan(programs []Program) ([]part, error) {
	var parts []part
	for len(programs) > 0 {
		m := programs[0].from
		other := func(p Program) bool { return p.from.folder != m.folder }
		same := slices.DeleteFunc(slices.Clone(programs), other)
		programs = slices.DeleteFunc(slices.Clone(programs), func(p Program) bool { return !other(p) })
		version, err := m.version()
		if err != nil {
			return nil, err
		}
		b, err := m.compile(same, "")
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{
			name: m.folder + " " + version, cost: m.cost, compiles: []compile{b},
			build: func(ctx context.Context, seen func(line string)) error { return c.buildModule(ctx, same, seen) },
		})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.cost, a.cost) })
	return parts, nil
}

// ownPart is the part of this tree's own programs, each built into a file or folder.
func ownPart(own []Own) part {
	p := part{name: "this project", cost: ownCost}
	for _, o := range own {
		p.compiles = append(p.compiles, o.compile(o.Target))
	}
	p.build = func(ctx context.Context, seen func(line string)) error {
		for _, b := range p.compiles {
			if err := b.run(ctx, seen); err != nil {
				return err
			}
		}
		return nil
	}
	return p
}

// sideBySide is how many parts are built at a time. One build keeps two cores busy
// most of the time, and more builds take more memory; a second one fills the gaps of
// many cores, while the other links or compiles a package that many wait for.
func sideBySide(cores int) int {
	if cores < 4 {
		return 1
	}
	return 2
}
