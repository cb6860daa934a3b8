# Kitestream. 'make help' says what there is; the tools that this uses are pinned in .tools/go.mod.

GO      ?= go
# The toolchain that go.mod names, fetched like a module where the machine has an older one: its standard library is the
# one that 'make vuln' finds nothing in.
export GOTOOLCHAIN = auto
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL    := $(GO) tool -modfile=.tools/go.mod
# Runs a command with real Milvus servers, a source and two targets unless -roles says otherwise, and stops them however
# it ends.
WITH    := bin/milvus with
# MQ=pulsar or MQ=kafka runs the tests of e2e, crash and bench on a source with that queue.
export KITESTREAM_TEST_MQ = $(MQ)
# RUN=regexp chooses among the tests of test, e2e, crash and bench.
GOTEST   = $(GO) test -tags servers -count=1 $(if $(RUN),-run '$(RUN)') $(if $(VERBOSE),-v)

.DEFAULT_GOAL := help
.PHONY: help build check fmt vet lint tidy vuln unit test e2e crash bench fuzz demo servers clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/kitestream
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/kitestream ./functions/kitestream

check: tidy vet lint vuln unit ## the gate: rules, and the tests that need no server under the race detector

fmt: ## format the code
	$(TOOL) golangci-lint fmt

vet:
	$(GO) vet -tags servers ./...

lint:
	$(TOOL) golangci-lint run

tidy:
	$(GO) mod tidy -diff
	$(GO) -C .tools mod tidy -diff

vuln:
	.tools/vuln

unit: ## the tests that need no server, under the race detector
	$(GO) test -race -timeout 10m ./...

# Two packages at a time: what tests make in the shared servers has names of its own. Measurements are made alone.
test: build servers ## every test, end to end on real Milvus, Pulsar and Kafka servers too
	$(WITH) -roles all $(GOTEST) -p 2 -timeout 15m $$($(GO) list -tags servers ./... | grep -v /test/bench)

e2e: build servers ## the end-to-end tests alone, the random workload with 20 seeds (RUN=name chooses, VERBOSE=1 tells more, MQ=pulsar or kafka)
	KITESTREAM_CHURN_SEEDS=$${KITESTREAM_CHURN_SEEDS:-20} $(WITH) $(GOTEST) -p 1 -timeout 40m ./test/e2e/...

crash: build servers ## the crash and zombie tests alone, with 20 deaths of each process
	KITESTREAM_CRASH_POINTS=$${KITESTREAM_CRASH_POINTS:-20} $(WITH) $(GOTEST) -p 1 -timeout 40m ./test/crash/...

bench: build servers ## rows per second and delay, beside a plain SDK loop
	$(WITH) $(GOTEST) -v -p 1 -timeout 30m ./test/bench/...

fuzz: ## every decoder fuzzed for FUZZTIME (5m) each; what breaks one is kept as a seed (FUZZ=regexp chooses)
	@mkdir -p bin
	.tools/fuzz

demo: build ## a task from a real Milvus to a real Milvus, compared row by row (KEEP=1 leaves it running)
	$(GO) run ./test/demo $(if $(KEEP),-keep)

servers: bin/milvus ## install the real servers, once: Milvus and Milvus Lite by pip (170 MB), Pulsar and Kafka by Maven (300 MB)
	bin/milvus fetch

bin/milvus: $(filter-out %_test.go %.md,$(wildcard test/servers/*.* test/servers/milvus/*.go))
	$(GO) build -o $@ ./test/servers/milvus

clean: ## remove what was built (not the installed servers)
	rm -rf bin
