#!/bin/sh
# Makes the font files in this folder from those of npm's @expo-google-fonts (the static TrueType files of Google Fonts), and Arabic from Debian's
# fonts-noto-core, since go-text does not join the letters of later ones (TestShapedAsHarfBuzzDoes). All are pinned by SHA-256. It needs Debian 12, npm and
# fonttools 4.60.1 (pip install fonttools==4.60.1), and is run by hand: the files are checked in.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

get() { # package version sha256 file...
    (cd "$work" && npm pack --silent "@expo-google-fonts/$1@$2" >/dev/null)
    archive=$work/expo-google-fonts-$1-$2.tgz
    printf '%s  %s\n' "$3" "$archive" | sha256sum -c --status || { echo "$1 $2 does not have the pinned SHA-256" >&2; exit 1; }
    shift 3
    for file in LICENSE_FONT "$@"; do
        tar -xzf "$archive" -C "$work" "package/$file"
    done
    head -n 1 "$work/package/LICENSE_FONT" >>"$work/copyrights" # the rest is the same in all
}

get noto-sans 0.4.2 98cf14a19b8e67a0e76bfd4d5df98937b9734e6dde570bd750f2259042042548 400Regular/NotoSans_400Regular.ttf 700Bold/NotoSans_700Bold.ttf
get noto-sans-hebrew 0.4.1 f82f8e852e3355521c511f2762a0130216d208d108bf4739aa977eb6a6d3012c 400Regular/NotoSansHebrew_400Regular.ttf
get noto-sans-thai 0.4.2 44282ae7c24587e7e50f083e5db3aafa8011ac2eac1159ef62be4fc516a66165 400Regular/NotoSansThai_400Regular.ttf
get noto-sans-jp 0.4.3 563ee80509692e2b2f42ceae6a0b82afecb90daa1b3d025bcebdf3d9120f43a3 400Regular/NotoSansJP_400Regular.ttf
get noto-sans-kr 0.4.3 7614af529705ea48e8b76cb3b056b92db66b7625ef3fc97ce76366063df94d3f 400Regular/NotoSansKR_400Regular.ttf
get noto-sans-sc 0.4.3 0d69d0f4971d2ff574e3d93cbc218dc950bf3f3f8f8e2c008d97687ed53aee59 400Regular/NotoSansSC_400Regular.ttf

debian=fonts-noto-core_20201225-1_all.deb
(cd "$work" && apt-get download -qq fonts-noto-core=20201225-1)
printf '%s  %s\n' 58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba "$work/$debian" | sha256sum -c --status || { echo "$debian does not have the pinned SHA-256" >&2; exit 1; }
dpkg-deb -x "$work/$debian" "$work/debian"
cp "$work/debian/usr/share/fonts/truetype/noto/NotoSansArabic-Regular.ttf" "$work/package/400Regular/NotoSansArabic_400Regular.ttf"
echo "Copyright 2015-2020 Google LLC. All Rights Reserved." >>"$work/copyrights" # as the font of Debian's says

{ sort -u "$work/copyrights"; tail -n +2 "$work/package/LICENSE_FONT"; } >"$here/OFL.txt"
python3 "$here/subset.py" "$work/package" "$here"
