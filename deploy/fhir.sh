#!/bin/sh
# Validates FHIR resources with HAPI's validator and the definitions of R4; called by `make test-fhir`. The resources are those that the tests of the
# conversion and of the interface answer with, and those of the night of 40 pictures in test/e2e where its pictures are found.
# FHIR_PARTS (default "conversion interface night") says which.
set -eu
cd "$(dirname "$0")/.."
say() { printf 'fhir: %s\n' "$*"; }

for tool in java mvn; do
    command -v "$tool" >/dev/null 2>&1 && continue
    say "$tool is missing, SO THAT HAPI'S VALIDATOR DID NOT RUN: apt-get install openjdk-17-jdk-headless maven"
    [ "${CI:-}" = true ] && exit 1
    exit 0
done
libraries="${XDG_CACHE_HOME:-$HOME/.cache}/noctua/fhirvalidator/$(sha256sum test/fhirvalidator/pom.xml | cut -c1-16)"
if [ ! -d "$libraries" ]; then
    say "fetching HAPI's validator (Maven Central, about 100 MB)"
    mkdir -p "$(dirname "$libraries")"
    work=$(mktemp -d "$libraries.XXXXXX")
    mvn -q -B -f test/fhirvalidator/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory="$work"
    mv "$work" "$libraries"
fi
resources=$(mktemp -d)
trap 'rm -rf "$resources"' EXIT
export NOCTUA_FHIR_DUMP="$resources"
for part in ${FHIR_PARTS:-conversion interface night}; do
    case $part in
        conversion) go test -count=1 ./pkg/fhir ;;
        interface) go test -count=1 -run 'Capability|Handling|Headers|Includes|NightIsPublished|NightsOf|Recorded|Reference|Terms|Task|Versions' ./services/report ;;
        night) go test -count=1 -timeout "${GO_TEST_TIMEOUT:-20m}" -run 'TestNightInOneProcess' ./test/e2e ;;
    esac
done
java -cp "$libraries/*" test/fhirvalidator/Validate.java "$resources"
