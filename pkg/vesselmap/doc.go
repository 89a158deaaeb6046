// Package vesselmap draws what the measures of a vessel mask look at: centre lines coloured by width with the parts of the field, the
// optic disc and its zones, and one small picture a measure, which shows the pixels that it is made of. It guarantees that what is
// drawn is what pkg/vessel measured, from the same graph. Pure: it imports vessel, raster and drawing.
package vesselmap
