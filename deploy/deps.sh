#!/bin/sh
# Installs what building and running Noctua needs; called by `make deps` (and `deps.sh test` by `make test`).
# Debian packages by apt where root, else the command is printed. ONNX Runtime from npm's onnxruntime-node, or from
# PyPI's wheel where npm is missing; both are pinned by SHA-256 and the library is kept in a cache.
# NOCTUA_ONNXRUNTIME names a library of one's own (for instance a GPU build); then none is fetched.
set -eu

ort_version=1.27.0
npm_sha256=c3779c01c59832f8c03e2c392ac3af10bf08579f1822e8b1c63cc451edb302a2
wheel_sha256_x64=7c65a7438632d55dfbc8a02ee60bd6cf7dd9d1ba05a43d4b851452f32338e194
wheel_sha256_arm64=c6fddce0539a4898c7bef35b052ffd37935b2190e35488eab99ce91887743ea1

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

wanted="libturbojpeg0-dev libopenjp2-7-dev"
[ "${1:-}" = test ] && wanted="$wanted chromium dicom3tools dcmtk python3-pydicom python3-numpy zip postgresql poppler-utils"

debian_packages() {
    command -v dpkg-query >/dev/null 2>&1 || { say "not a Debian system: install the headers of libjpeg-turbo's TurboJPEG and of OpenJPEG 2.5 yourself"; return; }
    missing=""
    for package in $wanted; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return
    if [ "$(id -u)" != 0 ]; then
        die "these Debian packages are missing:$missing. Install them with: sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing"
    fi
    say "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

checksum() { # file sha256
    printf '%s  %s\n' "$2" "$1" | sha256sum -c --status || die "$1 does not have the pinned SHA-256 $2; delete it, try again, and report it if it happens twice"
}

onnx_runtime() {
    if [ -n "${NOCTUA_ONNXRUNTIME:-}" ]; then
        [ -r "$NOCTUA_ONNXRUNTIME" ] || die "NOCTUA_ONNXRUNTIME names $NOCTUA_ONNXRUNTIME, which cannot be read"
        say "ONNX Runtime: $NOCTUA_ONNXRUNTIME"
        return
    fi
    [ "$(uname -s)" = Linux ] || die "ONNX Runtime is fetched for Linux only; set NOCTUA_ONNXRUNTIME to your library"
    case "$(uname -m)" in
        x86_64) arch=x64 wheel_platform=x86_64 wheel_sha256=$wheel_sha256_x64 ;;
        aarch64) arch=arm64 wheel_platform=aarch64 wheel_sha256=$wheel_sha256_arm64 ;;
        *) die "ONNX Runtime is pinned for x86_64 and aarch64, and this machine is $(uname -m); set NOCTUA_ONNXRUNTIME to your library" ;;
    esac
    cache="${XDG_CACHE_HOME:-$HOME/.cache}/noctua/onnxruntime/$ort_version/linux-$arch"
    [ -r "$cache/libonnxruntime.so" ] && return
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    if command -v npm >/dev/null 2>&1; then
        say "fetching ONNX Runtime $ort_version (npm onnxruntime-node, about 110 MB)"
        (cd "$work" && npm pack --silent "onnxruntime-node@$ort_version" >/dev/null)
        checksum "$work/onnxruntime-node-$ort_version.tgz" $npm_sha256
        tar -xzf "$work/onnxruntime-node-$ort_version.tgz" -C "$work" "package/bin/napi-v6/linux/$arch/libonnxruntime.so.1"
        library="$work/package/bin/napi-v6/linux/$arch/libonnxruntime.so.1"
    elif command -v pip3 >/dev/null 2>&1 && command -v python3 >/dev/null 2>&1; then
        say "fetching ONNX Runtime $ort_version (PyPI onnxruntime)"
        pip3 download -q --no-deps --only-binary=:all: --python-version 3.12 --platform "manylinux_2_27_$wheel_platform" \
            --platform "manylinux_2_28_$wheel_platform" -d "$work" "onnxruntime==$ort_version"
        wheel=$(find "$work" -name '*.whl')
        checksum "$wheel" "$wheel_sha256"
        python3 -m zipfile -e "$wheel" "$work/wheel"
        library="$work/wheel/onnxruntime/capi/libonnxruntime.so.$ort_version"
    else
        die "neither npm nor pip3 is here to fetch ONNX Runtime: install one (apt-get install npm), or set NOCTUA_ONNXRUNTIME to a library that you have"
    fi
    mkdir -p "$cache"
    # Renamed into place, so that an interrupted copy is never taken for the library.
    cp "$library" "$cache/.libonnxruntime.so.$$"
    mv "$cache/.libonnxruntime.so.$$" "$cache/libonnxruntime.so"
    say "ONNX Runtime is in $cache"
}

# What tests have from npm, with the versions and checksums of its lock file, and only where that changed.
npm_tool() { # folder below test/, what it is
    dir=$(dirname "$0")/../test/$1
    cmp -s "$dir/package-lock.json" "$dir/node_modules/installed-lock.json" && return
    command -v npm >/dev/null 2>&1 || { say "npm is missing, so that tests with $2 will not run: apt-get install npm"; return; }
    say "fetching $2 (npm)"
    (cd "$dir" && npm ci --silent --ignore-scripts --no-audit --no-fund) || { say "$2 could not be fetched, so that its tests will not run"; return; }
    cp "$dir/package-lock.json" "$dir/node_modules/installed-lock.json"
}

command -v go >/dev/null 2>&1 || die "Go is missing: install Go 1.26 or newer"
command -v gcc >/dev/null 2>&1 || die "gcc is missing: apt-get install gcc libc6-dev"
debian_packages
onnx_runtime
if [ "${1:-}" = test ]; then
    npm_tool ohif "OHIF's loader of segmentations, about 95 MB"
    npm_tool axe "axe-core, which judges pages"
fi
