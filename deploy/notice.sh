#!/bin/sh
# Lists the modules that are linked into the program with the licence that each one's own licence file shows; `make notice`
# puts the list into NOTICE.
set -eu
cd "$(dirname "$0")/.."
licence_of() { # folder
    for file in "$1"/LICENSE* "$1"/LICENCE* "$1"/COPYING* "$1"/license*; do
        [ -f "$file" ] || continue
        if grep -q 'Apache License' "$file"; then echo Apache-2.0
        elif grep -q 'Mozilla Public License' "$file"; then echo MPL-2.0
        elif grep -qi 'Permission is hereby granted, free of charge' "$file"; then echo MIT
        elif grep -q 'Redistribution and use in source and binary forms' "$file"; then
            if grep -qi 'neither the name' "$file"; then echo BSD-3-Clause; else echo BSD-2-Clause; fi
        elif grep -qi 'Permission to use, copy, modify' "$file"; then echo ISC
        else echo "see its licence file"
        fi
        return
    done
    echo "no licence file found"
}
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/noctua | sort -u |
    while read -r path version dir; do
        printf '%s %s: %s\n' "$path" "$version" "$(licence_of "$dir")"
    done
