// Package evaluation measures how well a segmenter finds vessels, on data sets whose vessels people have marked.
//
// The protocol, the same for every set: one grid, the photograph's own; only pixels inside the field of view count
// (the data set's mask of it where there is one, else the segmenter's own); label and mask are foreground above 127; the
// segmenter's own threshold makes the mask; pooled figures count all pixels of all pictures together. Pictures that
// the segmenter calls ungradable are scored by what it found; those without a field of view, in which it finds nothing, are not
// left out: they count as without vessels. The pooled figures are sums of whole numbers, so that they do not depend on the
// order in which pictures finish. docs/evaluation.md says what every figure means.
//
// It reads the layouts of CHASE_DB1, HRF and DRIVE, and any folder with images/ and manual1/. It may import the segment
// service, which it is a part of, and packages below pkg.
package evaluation
