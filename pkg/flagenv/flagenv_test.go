package flagenv

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type flags struct {
	*pflag.FlagSet
	listen   string
	replicas int
}

func program() *flags {
	f := &flags{FlagSet: pflag.NewFlagSet("program", pflag.ContinueOnError)}
	f.StringVar(&f.listen, "listen", ":80", "")
	f.IntVar(&f.replicas, "page-replicas", 2, "")
	f.Bool("version", false, "")
	return f
}

func (f *flags) parse(env map[string]string, args ...string) error {
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	return Parse(f.FlagSet, args, lookup, func(flag string) string { return Variable("P_", flag) })
}

func TestFlagWinsOverItsVariable(t *testing.T) {
	f := program()
	require.NoError(t, f.parse(map[string]string{"P_LISTEN": "", "P_PAGE_REPLICAS": "3", "P_VERSION": "v1"}, "--page-replicas=4"))
	assert.Equal(t, 4, f.replicas)
	assert.Empty(t, f.listen, "an empty value counts")
	assert.False(t, f.Changed("version"), "version has no variable")
}

func TestErrorNamesInvalidVariables(t *testing.T) {
	err := program().parse(map[string]string{"P_PAGE_REPLICAS": "many"})
	require.ErrorContains(t, err, `environment variable P_PAGE_REPLICAS is "many"`)
	require.ErrorIs(t, program().parse(nil, "--help"), pflag.ErrHelp)
}
