"""Shapes words with HarfBuzz itself (pip install uharfbuzz): shaping.json beside it holds, by font, words and the glyphs that they are made of, from the left.

Words are of letters by chance, with marks. Run it anew when a font was made anew.
"""

import json
import os
import random

import uharfbuzz as hb

here = os.path.dirname(os.path.abspath(__file__))
random.seed(1)


def word(letters: str, marks: list[str], share: float) -> str:
    """Some letters, a share of them with a mark."""
    return "".join(
        random.choice(letters) + (random.choice(marks) if random.random() < share else "")
        for _ in range(random.randint(2, 6))
    )


ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئةىپچژگکی"
HEBREW = "אבגדהוזחטיכךלמםנןסעפףצץקרשת"
THAI = "กขคฆงจฉชซญดตถทธนบปผฝพฟมยรลวศษสหอฮ"
LATIN = "aeiouyAEIOUYdđĐ"
WORDS = {
    "NotoSansArabic-Regular": [
        word(ARABIC, list("\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652"), 0.15) for _ in range(300)
    ],
    "NotoSansHebrew-Regular": [
        word(HEBREW, list("\u05b0\u05b4\u05b5\u05b6\u05b7\u05b8\u05b9\u05bc\u05c1\u05c2"), 0.3) for _ in range(60)
    ],
    "NotoSansThai-Regular": [
        word(THAI, ["\u0e34", "\u0e35\u0e48", "\u0e38", "\u0e49", "\u0e31\u0e49", "\u0e33", "\u0e49\u0e33"], 0.5)
        for _ in range(100)
    ],
    "NotoSans-Regular": [
        word(LATIN, ["\u0301", "\u0300", "\u0309", "\u0303", "\u0323", "\u0302\u0301", "\u031b\u0303"], 0.6)
        for _ in range(100)
    ],
}

out = {}
for font, words in WORDS.items():
    face = hb.Font(hb.Face(hb.Blob.from_file_path(f"{here}/../fonts/{font}.ttf")))
    out[font] = {}
    for text in sorted(set(words)):
        buffer = hb.Buffer()
        buffer.add_str(text)
        buffer.guess_segment_properties()
        hb.shape(face, buffer)
        out[font][text] = [info.codepoint for info in buffer.glyph_infos]
with open(f"{here}/shaping.json", "w", encoding="utf-8") as file:
    json.dump(out, file, ensure_ascii=False, separators=(",", ":"))
    file.write("\n")
