package vessel

// Repeatable tells whether a measure of a region stays, in the mean over pictures, within a coefficient of variation of 15 % between
// simulated photographs of the same eye. Measures of the whole field all do. Source: test/repeatability, with the table in
// docs/measures.md.
func Repeatable(measure, region string) bool {
	return !unrepeatable()[measure+" "+region]
}

// unrepeatable are the regional measures that move more: counts of few things. End points do in seven regions of fourteen, and come
// near it in the others, so that they are withheld in all.
func unrepeatable() map[string]bool {
	out := map[string]bool{}
	for _, r := range Regions() {
		out[EndPointCount+" "+r.Name] = true
	}
	for _, r := range []string{RegionZoneA, RegionZoneB, RegionInfTemporal} {
		out[BranchPointCount+" "+r] = true
	}
	return out
}
