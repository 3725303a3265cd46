# Tasks for developers and CI. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Builds are reproducible: the date is the commit's.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
MODULE  := maintenance-controller.io
LDFLAGS := -s -w -X $(MODULE)/pkg/version.Version=$(VERSION) -X $(MODULE)/pkg/version.Commit=$(COMMIT) -X $(MODULE)/pkg/version.Date=$(DATE)

# Everything is compiled with the same settings as a release, so that Go's cache has each package once. Only tests with the
# race detector (e2e/test.sh) differ.
export CGO_ENABLED := 0
export GOFLAGS     := $(strip $(filter-out -trimpath -buildvcs=false,$(GOFLAGS)) -trimpath -buildvcs=false)

PROGRAMS := $(notdir $(wildcard cmd/*))
VALUES   := e2e/demo/values.yaml
CACHE    := $(or $(MAINTENANCE_E2E_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/maintenance-controller)
NODES    ?= 1

# Tools with pinned versions, built once.
GOVULNCHECK_VERSION := v1.8.0
GOVULNCHECK         := $(CACHE)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

# It runs in the folder of its module, so its arguments are absolute paths.
CLUSTER := go -C e2e run ./cmd/cluster
STATE   := --dir $(CURDIR)/.cluster

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##  Programs

.PHONY: build
build: ## Build the programs into bin/.
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

PLUGIN_DIR ?= $(HOME)/.local/bin
.PHONY: plugin
plugin: ## Build the kubectl plugin into PLUGIN_DIR (default ~/.local/bin), with shell completion.
	@mkdir -p '$(PLUGIN_DIR)'
	go build -ldflags '$(LDFLAGS)' -o '$(PLUGIN_DIR)/' ./cmd/kubectl-maintenance
	@install -m 755 pkg/cli/kubectl_complete-maintenance '$(PLUGIN_DIR)/'

.PHONY: image
image: ## Write the container image to dist/, with docker if it runs.
	@ARCH=$(ARCH) e2e/image/make.sh $(CURDIR)/dist '$(VERSION)' '$(COMMIT)' '$(DATE)'

##  A local cluster (needs root)

.PHONY: node
node:
	@go -C e2e run ./cmd/programs local --ldflags '$(LDFLAGS)'
	@$(CLUSTER) up $(STATE) --nodes $(NODES)

.PHONY: cluster
cluster: node image ## Start Kubernetes with Traefik and the controller; kubeconfig in .cluster/.
	@$(CLUSTER) load $(STATE) $(CURDIR)/dist/maintenance-controller.tar
	@$(CLUSTER) install $(STATE) --image "$$(cat dist/maintenance-controller.ref)" $(CURDIR)/$(VALUES)
	@echo "kubeconfig: $(CURDIR)/.cluster/kubeconfig   Traefik: http://127.0.0.1:8081"

.PHONY: demo
demo: ## Show the whole thing, on a local cluster or, with IMAGE, on one of your own.
	@LDFLAGS='$(LDFLAGS)' NODES=$(NODES) e2e/demo/run.sh

.PHONY: down
down: ## Stop the cluster and remove everything of it.
	@$(CLUSTER) down $(STATE)

##  A cluster of your own

.PHONY: demo-image
demo-image: ## Write the image for `make demo IMAGE=…` to dist/: this project's with a sample app.
	@mkdir -p dist/demo
	@GOOS=linux GOARCH=$(ARCH) go build -ldflags '$(LDFLAGS)' -o dist/demo/ ./cmd/maintenance-controller ./cmd/maintenance-page
	@GOOS=linux GOARCH=$(ARCH) go -C e2e build -ldflags '-s -w' -o $(CURDIR)/dist/demo/sample-app ./sampleapp
	@go -C e2e run ./cmd/image --name maintenance-demo --arch "$(ARCH)" --out $(CURDIR)/dist/demo-image.tar \
		$(addprefix $(CURDIR)/dist/demo/,maintenance-controller maintenance-page sample-app) >dist/demo-image.ref
	@echo "dist/demo-image.tar: $$(cat dist/demo-image.ref)"

.PHONY: demo-down
demo-down: ## Remove what `make demo IMAGE=… KEEP=1` left in the cluster.
	@e2e/demo/own.sh down

##  Checks

.PHONY: test
test: ## Run all tests; the node tier needs root.
	@e2e/test.sh

.PHONY: soak
soak: ## Run the long forms of the tests, as root; usually 50 minutes, at most 74.
	@go -C e2e run ./cmd/soak --logs $(CURDIR)/dist/soak $(SOAK_ARGS)

.PHONY: matrix
matrix: ## Measure how fast ingress controllers follow, as root, and write the table in docs/gateway-api.md; 6 minutes.
	@e2e/matrix.sh

.PHONY: release-snapshot
release-snapshot: ## Build the release artefacts and try them on a cluster (needs root).
	@e2e/release/test.sh

.PHONY: bench
bench: ## Run the benchmarks.
	go test -run '^$$' -bench . -benchmem ./...
	cd e2e && go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-page
bench-page: ## Benchmark maintenance-page against nginx (needs Debian's nginx and wrk).
	@e2e/pageserver/bench/run.sh $(BENCH_ARGS)

.PHONY: bench-proxy
bench-proxy: ## Benchmark a bypass port of maintenance-page against nginx's proxy_pass (needs Debian's nginx and wrk).
	@e2e/pageserver/bench/run.sh --proxy $(BENCH_ARGS)

.PHONY: lint
lint: ## Run golangci-lint over all modules, and check the scripts.
	@for module in . e2e e2e/pageserver; do (cd $$module && echo "lint $$module" && $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...); done
	@shellcheck -S warning .ci/run $$(git ls-files '*.sh')
	@$(ACTIONLINT) .github/workflows/*.yml

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Run govulncheck; VULN_ARGS=--snapshot uses the advisories in this tree, without network.
	@go -C e2e run ./cmd/vuln --govulncheck $(GOVULNCHECK) $(VULN_ARGS)

.PHONY: verify
verify: ## Check that generated and formatted files are up to date.
	@e2e/verify.sh

# The linters, with pinned versions, built once.
GOLANGCI_VERSION := v2.15.0
GOLANGCI_LINT    := $(CACHE)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
ACTIONLINT_VERSION := v1.7.12
ACTIONLINT       := $(CACHE)/actionlint-$(ACTIONLINT_VERSION)/actionlint
lint: $(GOLANGCI_LINT) $(ACTIONLINT)
$(ACTIONLINT):
	@echo "build actionlint $(ACTIONLINT_VERSION)"
	@GOBIN=$(@D) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
$(GOLANGCI_LINT):
	@echo "build golangci-lint $(GOLANGCI_VERSION)"
	@GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(GOVULNCHECK):
	@echo "build govulncheck $(GOVULNCHECK_VERSION)"
	@GOBIN=$(@D) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

.PHONY: clean
clean: ## Remove what was built, except the cache.
	rm -rf bin dist build
