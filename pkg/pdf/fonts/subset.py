"""Cuts the fonts to the characters that names and reports are written with. Called by make.sh."""

import os
import sys

from fontTools import subset


def encoded(codec: str, rows: range, cells: range) -> set[int]:
    """The characters of a double-byte character set, by the ranges of its two bytes."""
    found = set()
    for row in rows:
        for cell in cells:
            try:
                text = bytes([row, cell]).decode(codec)
            except UnicodeDecodeError:
                continue
            found.update(ord(c) for c in text)
    return found


def span(*ends: tuple[int, int]) -> set[int]:
    return {c for first, last in ends for c in range(first, last + 1)}


HAN = span((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
HALF_AND_FULL_WIDTH = span((0xFF01, 0xFF9F))  # JIS X 0201 of old files among them
CJK_MARKS = span((0x3000, 0x303F))

# Latin with Vietnamese, Greek, Cyrillic, combining marks, punctuation and signs.
SANS = span(
    (0x20, 0x7E),
    (0xA0, 0x52F),
    (0x1D00, 0x1EFF),
    (0x1F00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2070, 0x209F),
    (0x20A0, 0x20BF),
    (0x2100, 0x214F),
    (0x2190, 0x21FF),
    (0x2200, 0x22FF),
    (0x25A0, 0x25FF),
    (0xFFFC, 0xFFFD),
    (0xFB00, 0xFB06),
)
# What the table of a report is written with, in bold.
BOLD = span(
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x370, 0x3FF),
    (0x400, 0x4FF),
    (0x1E00, 0x1EFF),
    (0x2000, 0x206F),
    (0x2200, 0x22FF),
    (0xFFFD, 0xFFFD),
)
BLANKS = {0x20, 0xA0, 0x3000}
# Windows' Shift JIS: JIS X 0208 and the variants that Japanese names are written with (高 and 髙).
JAPANESE = (
    encoded("cp932", range(0x81, 0xFD), range(0x40, 0xFD))
    | span((0x3040, 0x30FF), (0x31F0, 0x31FF))
    | HALF_AND_FULL_WIDTH
    | CJK_MARKS
    | BLANKS
)
# GB 2312 and, of the characters that Taiwan and Hong Kong write, the frequent ones of Big5.
CHINESE = (
    encoded("gb2312", range(0xA1, 0xF8), range(0xA1, 0xFF)) | encoded("big5", range(0xA4, 0xC7), range(0x40, 0xFF))
) & HAN
# The syllables of KS X 1001 and the letters; Korean names in Han characters are written with the other two.
KOREAN = (
    BLANKS | (encoded("euc_kr", range(0xB0, 0xC9), range(0xA1, 0xFF)) & span((0xAC00, 0xD7A3))) | span((0x3130, 0x318F))
)
MIDDLE_EAST = span(
    (0x20, 0x7E), (0xA0, 0xFF), (0x590, 0x8FF), (0x2000, 0x206F), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF), (0x25CC, 0x25CC)
)
THAI = span((0x20, 0x7E), (0xE00, 0xE7F), (0x200B, 0x200D), (0x25CC, 0x25CC))

FONTS = [
    ("400Regular/NotoSans_400Regular.ttf", "NotoSans-Regular.ttf", SANS, True),
    ("700Bold/NotoSans_700Bold.ttf", "NotoSans-Bold.ttf", BOLD, True),
    ("400Regular/NotoSansArabic_400Regular.ttf", "NotoSansArabic-Regular.ttf", MIDDLE_EAST, True),
    ("400Regular/NotoSansHebrew_400Regular.ttf", "NotoSansHebrew-Regular.ttf", MIDDLE_EAST, True),
    ("400Regular/NotoSansThai_400Regular.ttf", "NotoSansThai-Regular.ttf", THAI, True),
    ("400Regular/NotoSansJP_400Regular.ttf", "NotoSansJP-Regular.ttf", JAPANESE, False),
    ("400Regular/NotoSansSC_400Regular.ttf", "NotoSansSC-Regular.ttf", CHINESE | CJK_MARKS | BLANKS, False),
    ("400Regular/NotoSansKR_400Regular.ttf", "NotoSansKR-Regular.ttf", KOREAN, False),
]


def main(source: str, target: str) -> None:
    for file, name, characters, shaped in FONTS:
        options = subset.Options()
        options.hinting = False
        options.notdef_outline = True  # the box that stands for what no font has
        options.recalc_timestamp = False
        options.harfbuzz_repacker = False  # the same bytes with and without uharfbuzz
        options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # with copyright and licence
        # Names are joined, and their marks placed, by the font's own rules; squares are set one after another.
        options.layout_features = (
            [
                "ccmp",
                "locl",
                "calt",
                "clig",
                "liga",
                "rlig",
                "init",
                "medi",
                "fina",
                "isol",
                "mark",
                "mkmk",
                "kern",
                "curs",
            ]
            if shaped
            else []
        )
        options.drop_tables += ["DSIG", "BASE", "vhea", "vmtx", "VORG", "meta", "STAT"]
        font = subset.load_font(os.path.join(source, file), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=characters)
        cutter.subset(font)
        subset.save_font(font, os.path.join(target, name), options)


if __name__ == "__main__":
    main(*sys.argv[1:])
