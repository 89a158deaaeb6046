#!/bin/sh
# Makes the Go types of events (pkg/event) and documents (pkg/record) from the schemas. Called by `make generate`.
set -eu
cd "$(dirname "$0")/.."
generate() { # package file schema...
    package=$1 file=$2
    shift 2
    go tool go-jsonschema -p "$package" --only-models --struct-name-from-title --tags json \
        --capitalization UID --capitalization ID --capitalization FOV --capitalization SOP -o "$file" "$@"
}
cd schemas
generate event ../pkg/event/types_gen.go envelope.v1.schema.json inbox.changed.v1.schema.json image.*.v1.schema.json quarantine.decided.v1.schema.json quarantine.released.v1.schema.json \
    report.issued.v1.schema.json study.expected.v1.schema.json export.requested.v1.schema.json delivery.requested.v1.schema.json
generate record ../pkg/record/types_gen.go instance.v1.schema.json duplicate.v1.schema.json quarantine.v1.schema.json identity.v1.schema.json \
    result.v1.schema.json failure.v1.schema.json report.v1.schema.json model.v1.schema.json status.v1.schema.json decision.v1.schema.json release.v1.schema.json \
    audit.v1.schema.json manifest.v1.schema.json expected.v1.schema.json export.v1.schema.json delivery.v1.schema.json night.v1.schema.json nights.v1.schema.json patientlink.v1.schema.json
