// Package unet loads a segmentation model with its manifest and runs it in ONNX Runtime. It is the only importer of
// onnxruntime_go.
//
// A Model is the folder models/<name>: the ONNX file, checked against the SHA-256 of its manifest. A Runtime is the shared
// library of ONNX Runtime, loaded once a process. A Session joins the two with an execution provider and may be used from
// many goroutines; how many runs are under way at once is bounded by its Config.
//
// What it guarantees: inputs that do not fit are refused before they reach the library; an input never fails another one
// that shares its batch; probabilities that come back are finite; a cancelled context ends a run early. Of Noctua it
// imports fault, raster, record and schemas.
package unet
