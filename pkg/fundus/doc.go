// Package fundus knows what a retinal photograph looks like before any network sees it: where its field of view (FOV) lies,
// how it gets to the model's canonical canvas, and how a map on the canvas gets back to the photograph's own pixel grid.
//
// Coordinates: pixel j of a row covers [j, j+1), so its centre is at j + 0.5. The FOV is a circle, given in full even when
// it is cut, and four cut lines; all of it in source pixels and with sub-pixel precision. On the canvas the circle always
// has the same diameter and lies in the middle, so that vessels have the same width whatever the camera.
//
// Resampling is a separable triangle filter, widened where it shrinks, in float32; package noctua_training.canvas does the
// same in Python, and the two must agree.
//
// The package is pure: no context, clock, network, logger or randomness; the same picture gives the same bits on any number
// of processors. Of Noctua it imports raster and fault only.
package fundus
