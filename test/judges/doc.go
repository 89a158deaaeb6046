// Package judges asks other people's programs about the DICOM objects that Noctua writes: dicom3tools, dcmtk, pydicom, and the viewer
// OHIF's own loader. Without a judge a test skips loudly; under CI=true that is a failure. `make test-deps` installs them.
package judges
