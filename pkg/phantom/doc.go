// Package phantom draws fundus photographs of eyes that do not exist, with the vessel tree that was drawn: for demonstrations,
// load and tests, where photographs of people have no place.
//
// A phantom has a round field of view on black, an optic disc, a macula, a retina with uneven light and a choroid that shines
// through, arteries and veins that leave the disc in the four directions in which they do in people, branch by Murray's
// law (Proceedings of the National Academy of Sciences 12(3), 1926) and taper, and the blur and noise of a camera. The anatomy
// is average (disc 5.4° wide, 15.5° nasal of the fovea) with some play; it is no model of any disease or of how
// vessels are spread in a population, so that measures of phantoms say nothing about people. What stands in front of the retina can be
// asked for: flare, eyelashes, text in the margin.
//
// Same options, same picture, up to rounding that may differ between processors by 1 of 255. Pure: it
// imports raster, fault and a bitmap font only.
package phantom
