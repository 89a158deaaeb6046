#!/bin/sh
# Fails if the generated Go types differ from what schemas/ gives, or if go.mod and go.sum are untidy.
set -eu
cd "$(dirname "$0")/.."
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
failed=0
generated="pkg/event/types_gen.go pkg/record/types_gen.go"
for file in $generated; do
    mkdir -p "$before/$(dirname "$file")"
    cp "$file" "$before/$file"
done
./schemas/generate.sh
for file in $generated; do
    if ! diff -u "$before/$file" "$file"; then
        echo "verify: $file is not what schemas/ gives; it has been made anew, commit it" >&2
        failed=1
    fi
done
if ! go mod tidy -diff; then
    echo "verify: go.mod or go.sum is untidy; run go mod tidy" >&2
    failed=1
fi
exit $failed
