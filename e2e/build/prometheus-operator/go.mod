// The Prometheus operator's custom resource definitions, for tests of the chart:
// files of this module. Nothing of it is built, so that it is required by hand.
module maintenance-controller.io/e2e/build/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
