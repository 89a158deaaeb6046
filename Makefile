# Noctua's targets; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/noctua-screening/noctua/cmd/noctua/app.version=$(VERSION)
DATA ?= ./noctua-data
GO_TEST_TIMEOUT ?= 20m
export CGO_ENABLED := 1

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: deps
deps: ## Install what building and running needs (Debian packages, ONNX Runtime)
	@./deploy/deps.sh

.PHONY: test-deps
test-deps: ## Install what the tests need besides (Chromium, dciodvfy, dcmtk, pydicom, PostgreSQL, OHIF's loader, zip)
	@./deploy/deps.sh test

.PHONY: build
build: deps ## Build bin/noctua
	go build -ldflags '$(LDFLAGS)' -o bin/noctua ./cmd/noctua

.PHONY: run
run: build ## Install what is missing, build, and start the whole of Noctua (state in DATA, default ./noctua-data)
	./bin/noctua run --data $(DATA)

.PHONY: test
test: test-deps ## Run the tests (real servers, real model; real pictures where they are found)
	go test -timeout $(GO_TEST_TIMEOUT) ./...

.PHONY: test-race
test-race: test-deps ## Run the tests with the race detector
	go test -race -timeout $(GO_TEST_TIMEOUT) ./...

.PHONY: test-fhir
test-fhir: test-deps ## Validate every FHIR resource of the tests and of a whole night with HAPI's validator (needs Java 17 and Maven)
	@./deploy/fhir.sh

.PHONY: test-training
test-training: ## Run the tests of the Python training package (needs PyTorch; PYTHON names the interpreter)
	cd training && $${PYTHON:-python3} -m pytest -q

.PHONY: bench
bench: deps ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: deps ## Fuzz every parser of bytes from outside, FUZZTIME (10m) each: two hours and more
	./deploy/fuzz.sh

.PHONY: generate
generate: ## Make the Go types from schemas/
	./schemas/generate.sh

.PHONY: verify
verify: ## Fail if generated files differ from what schemas/ gives, or if go.mod is untidy
	@./deploy/verify.sh

.PHONY: lint
lint: ## gofmt, go vet, golangci-lint; ruff for Python where it is installed
	@./deploy/lint.sh

.PHONY: screenshots
screenshots: test-deps ## Take pictures of the pages of the Noctua that runs on DATA
	go run ./test/screenshots -data $(DATA) -out out/screenshots

.PHONY: notice
notice: ## Make the list of modules in NOTICE anew
	@sed '/^Each module/q' NOTICE >NOTICE.new && ./deploy/notice.sh | sed 's/^/  /' >>NOTICE.new && mv NOTICE.new NOTICE

.PHONY: clean
clean: ## Remove bin/ (never the data folder)
	rm -rf bin
