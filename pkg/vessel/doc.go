// Package vessel turns a vessel mask into measures: pure, deterministic functions from pixels to numbers.
//
// Published tools report numbers of the same name that differ by tens of percent on the same mask, because there is no
// standard. So each measure here carries its definition (see Definitions), and what could not be measured is absent with
// a reason, never a made-up number.
//
// It guarantees that the masks it is given are not changed, that the same masks give the same bits, and that vessel
// pixels outside the field of view count for nothing. It may import only raster and fault.
package vessel
