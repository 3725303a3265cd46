package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCountsAreSummed(t *testing.T) {
	c := counts{}
	for _, line := range []string{
		"=== RUN   TestSoak",
		"    soak_test.go:60: result: toggles=275",
		"    storm_test.go:60: result: faults-injected=1996",
		"    storm_test.go:62: result: toggles=25",
		"    wrong_answers_test.go:51: result: page-Pods-deleted=2",
	} {
		require.NoError(t, c.add(line))
	}
	assert.Equal(t, counts{
		"toggles": 300, "faults injected": 1996, "page Pods deleted": 2,
	}, c)
	assert.ErrorContains(t, c.add("result: toggles=many"), "many")
	assert.ErrorContains(t, c.add("result: switches=3"), "no row")
}

func TestReportFailsOnWrongCounts(t *testing.T) {
	good := func() counts {
		c := counts{}
		for _, row := range rows {
			if row.rule == positive {
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
		case zero:
			c[row.name] = 1
		case positive:
			c[row.name] = 0
		case informational:
			continue
		}
		out.Reset()
		assert.Error(t, c.report(&out, false), row.name)
		assert.Regexp(t, row.name+` .*WRONG`, out.String())
	}
}

func TestPartialRunMayLackCounts(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, counts{"kills": 3}.report(&out, true))
	assert.Contains(t, out.String(), "kills")
	assert.NotContains(t, out.String(), "requests sent")
	assert.Error(t, counts{"gaps": 3}.report(&out, true))
}

func TestOnlyChoosesSteps(t *testing.T) {
	all, err := chosen("")
	require.NoError(t, err)
	assert.Equal(t, steps, all)
	some, err := chosen("faults")
	require.NoError(t, err)
	require.Len(t, some, 1)
	assert.Equal(t, "random faults", some[0].name)
	_, err = chosen("storm")
	assert.ErrorContains(t, err, `--only "storm": no step has that in its name; there are wrong answers under load, data planes`)
}
