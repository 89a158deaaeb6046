#!/bin/sh
# gofmt, go vet, golangci-lint (pinned, built from the module proxy), and ruff for training/ where it is installed.
set -eu
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l cmd pkg services schemas models test)
if [ -n "$unformatted" ]; then
    printf 'lint: not gofmt-ed:\n%s\n' "$unformatted" >&2
    exit 1
fi
go vet ./...
go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...
if command -v ruff >/dev/null 2>&1; then
    ruff check training && ruff format --check training
else
    echo "lint: ruff is not installed, so training/ was NOT linted (pip install ruff)"
fi
