# `make` alone lists the targets.
SHELL         := bash
.SHELLFLAGS   := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory
.PHONY: help run test lint build dist bench scale torture outage fuzz clean vuln packages

# Go's usual folder, for shells whose PATH lacks it.
export PATH := $(PATH):/usr/local/go/bin
# The version comes from git below; Go's own stamping fails in a copy without
# history or with another owner.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

GO            ?= go
# The version that is released next; what is built on the way to it says so.
RELEASE        = 0.3.0
VERSION       ?= $(RELEASE)-dev+$(shell git describe --always --dirty --exclude '*' 2>/dev/null || echo devel)
LDFLAGS        = -s -w -X spillway/internal/observe.version=$(VERSION)

# Versions are fixed, so that the same code gives the same findings.
GOFUMPT        = $(GO) run mvdan.cc/gofumpt@v0.12.0
GOLANGCI_LINT  = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK    = $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: build ## build and start everything in one process; without settings, with a stand-in CRM and site
	@./bin/spillway run

# Some packages wait more than they compute, so more run at once than there are
# processors.
test: packages ## run all tests with the race detector
	$(GO) test -race -timeout 30m -p $$(( $$(getconf _NPROCESSORS_ONLN) + 2 )) ./...
	for suite in trixie sid; do SPILLWAY_TEST_WORDPRESS=$$suite $(GO) test -race -timeout 30m ./internal/lab/plugintest; done
	cd deploy/check && $(GO) test -count=1 ./... # it reads files that the cache does not watch

lint: ## check formatting, Go and PHP
	@unformatted=$$($(GOFUMPT) -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted, run: $(GOFUMPT) -w ."; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GOLANGCI_LINT) run
	@if command -v php > /dev/null; then \
		find . \( -path ./var -o -path ./node_modules \) -prune -o -name '*.php' -print0 | xargs -0 -r -n 1 php -d display_errors=stderr -l > /dev/null; \
	else echo "no php here: the plugin's syntax is not checked"; fi
	@if phpcs -i 2> /dev/null | grep -q WordPress; then cd deploy/wordpress && phpcs -q; \
	else echo "no phpcs with WordPress's standard here: the plugin's style is not checked"; fi

build: ## build the three programs into ./bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o ./bin/ ./cmd/...

dist: ## build what is released into ./dist: archives, Debian packages, the plugin, checksums
	@VERSION='$(if $(filter file,$(origin VERSION)),$(RELEASE),$(VERSION))' ./deploy/dist

bench: packages build ## measure what docs/performance.md states, in less than ten minutes
	@$(GO) run ./internal/lab/bench/run

scale: packages build ## measure a failure under Sentinel and a Cluster against one Redis, for docs/performance.md
	@$(GO) run ./internal/lab/bench/run -only scale -json var/scale.json

# Each seed is one run with each way to run Redis.
SEEDS   ?= 1
MINUTES ?= 3
REDIS   ?= always,everysec,sentinel

CLOCKS  ?= 0
SITES   ?= 1

torture: packages ## kill, freeze and cut everything off while webhooks pour in: SEEDS=1,2 MINUTES=3 CLOCKS=7m SITES=3
	$(GO) run ./internal/lab/torture/run -seeds '$(SEEDS)' -minutes '$(MINUTES)' -redis '$(REDIS)' -without '$(GUARD)' -clocks '$(CLOCKS)' -sites '$(SITES)'

outage: packages ## 100,000 contacts through a two-hour outage played fast, and minutes against an unknown limit
	$(GO) test -tags torture -timeout 30m -v -run 'HundredThousand|ALimitOf25' ./internal/throttle

# Each target gets FUZZTIME; `make fuzz FUZZTIME=10m` takes an hour. What is
# found is kept in the package's testdata/fuzz, which `make test` then repeats.
FUZZTIME      ?= 1m
fuzz: ## search the parsers with made-up input, FUZZTIME (1m) for each
	$(GO) test -run='^$$' -fuzz='^FuzzParse$$' -fuzztime=$(FUZZTIME) ./internal/webhook
	$(GO) test -run='^$$' -fuzz='^FuzzLoad$$' -fuzztime=$(FUZZTIME) ./internal/config
	$(GO) test -run='^$$' -fuzz='^FuzzAnswers$$' -fuzztime=$(FUZZTIME) ./internal/pulse
	$(GO) test -run='^$$' -fuzz='^FuzzTokenAnswers$$' -fuzztime=$(FUZZTIME) ./internal/pulse
	$(GO) test -run='^$$' -fuzz='^FuzzAnswers$$' -fuzztime=$(FUZZTIME) ./internal/site

vuln: ## look for known vulnerabilities in the dependencies
	$(GOVULNCHECK) ./...

packages: ## install the Debian packages that tests use
	@.ci/packages

clean: ## remove what build and dist made
	rm -rf ./bin ./dist
