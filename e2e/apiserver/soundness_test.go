package apiserver

import (
	"context"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/e2e/soundness"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/target"
)

// watchSoundness records every revision of every target in the namespace, and checks them
// when the test ends.
func (env *testEnv) watchSoundness(kinds []target.Kind) {
	env.Helper()
	var err error
	env.soundness, err = soundness.Watch(env.dynamic, env.namespace, env.reportMissed, kinds...)
	require.NoError(env, err)
	env.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		assert.NoError(env, env.soundness.Finish(ctx))
		judged, wrong := env.soundness.Violations()
		for _, what := range wrong {
			env.Error(what)
		}
		assert.True(env, judged > 0 || !env.hasTargets, "there were targets, but no revision was recorded")
		tally.Report(env.T, "revisions judged", int64(judged))
		tally.Report(env.T, "revisions not sound", int64(len(wrong)))
	})
}

// allowLoss says that the test itself removes all copies of a target's originals from now on.
func (env *testEnv) allowLoss(ref target.Ref) {
	env.Helper()
	list, err := env.dynamic.Resource(configMaps).Namespace(env.namespace).List(env.Context(), metav1.ListOptions{Limit: 1})
	require.NoError(env, err)
	env.soundness.AllowLoss(ref, revisions.Version(list))
}
