package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCountsAreAddedUp(t *testing.T) {
	c := counts{}
	for _, line := range []string{
		"=== RUN   TestSoak",
		"    soak_test.go:60: result: toggles=275",
		"    storm_test.go:60: result: faults-injected=1996",
		"    storm_test.go:62: result: toggles=25",
		"    nohole_test.go:51: result: page-Pods-deleted=2",
	} {
		require.NoError(t, c.add(line))
	}
	assert.Equal(t, counts{
		"toggles": 300, "faults injected": 1996, "page Pods deleted": 2,
	}, c)
	assert.ErrorContains(t, c.add("result: toggles=many"), "many")
	assert.ErrorContains(t, c.add("result: switches=3"), "no row")
}

func TestWhatIsWrongFails(t *testing.T) {
	good := func() counts {
		c := counts{}
		for _, row := range rows {
			if row.rule == some {
				c[row.name] = 1
			}
		}
		return c
	}
	var out bytes.Buffer
	require.NoError(t, good().report(&out, false))
	assert.NotContains(t, out.String(), "WRONG")
	for _, row := range rows {
		c := good()
		switch row.rule {
		case none:
			c[row.name] = 1
		case some:
			c[row.name] = 0
		case told:
			continue
		}
		out.Reset()
		assert.Error(t, c.report(&out, false), row.name)
		assert.Regexp(t, row.name+` .*WRONG`, out.String())
	}
}

func TestAPartNeedNotCountAll(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, counts{"kills": 3}.report(&out, true))
	assert.Contains(t, out.String(), "kills")
	assert.NotContains(t, out.String(), "requests sent")
	assert.Error(t, counts{"holes": 3}.report(&out, true))
}
