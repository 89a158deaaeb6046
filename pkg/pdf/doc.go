// Package pdf writes pages of text, lines and pictures as PDF 1.7 (ISO 32000-1).
//
// It guarantees: the same calls give the same bytes. Text is in Unicode and any script that the fonts have: it is shaped (letters joined,
// marks placed), in the direction that its first letter asks for, with parts that run the other way in their own (UAX #9), and broken into
// lines where a line may be broken (UAX #14). A character that no font has is drawn as a box, and one that would change how others are read
// (controls, overrides of direction) as a replacement character; neither is dropped. What is drawn can be searched and copied as it was written.
// Fonts are embedded, with those glyphs alone that are used.
//
// Scripts that need shaping are set as HarfBuzz sets them (testdata/shape.py).
//
// Lengths are in points (1/72 inch), from the left upper corner of the page. A Fonts may be used by many at a time, a Page by one.
//
// Pure: no clock, no files, no network. It imports go-text for shaping, and nothing of Noctua but fault.
//
// Why there is a writer of our own: ADR 26.
package pdf
