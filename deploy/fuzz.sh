#!/usr/bin/env bash
# Fuzzes every parser that reads bytes from outside, one after the other: FUZZTIME each (10m). Arguments choose targets by name.
# Go keeps what it finds in the package's testdata/fuzz: commit it, it is a regression test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."
targets="
FuzzOpen ./pkg/dicom
FuzzIdentityOfFile ./pkg/dicom
FuzzFrames ./pkg/dicom
FuzzObjects ./pkg/dicom/derived
FuzzDecodeRLE ./pkg/dicom/pixel
FuzzDecodeJPEGLossless ./pkg/dicom/pixel
FuzzDecodeJPEGLS ./pkg/dicom/pixel
FuzzDecodeJPEG2000 ./pkg/dicom/pixel
FuzzDecodeJPEG ./pkg/dicom/pixel
FuzzArchive ./services/ingest
FuzzReadManifest ./services/ingest
FuzzStow ./services/ingest
FuzzAssociation ./pkg/dimse
FuzzCommand ./pkg/dimse
FuzzClient ./pkg/dimse
FuzzAnswer ./pkg/dicomweb
FuzzWrite ./pkg/hl7
FuzzAck ./pkg/hl7
"
failed=0
while read -r name package; do
    [ -n "$name" ] || continue
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
        continue
    fi
    echo "== $name $package"
    # A crash is reported and the others go on.
    go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10m}" -parallel "${FUZZPARALLEL:-2}" "$package" </dev/null || failed=1
done <<<"$targets"
exit "$failed"
