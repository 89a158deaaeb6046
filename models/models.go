// Package models embeds the model that Noctua ships, so that the program is one file. It imports nothing of Noctua.
package models

import (
	"embed"
	"fmt"
	"io/fs"
)

// Shipped is the name, and folder, of the embedded model.
const Shipped = "noctua-vessel-2"

//go:embed noctua-vessel-2/model.onnx noctua-vessel-2/manifest.json noctua-vessel-2/golden_input.f32 noctua-vessel-2/golden_output.f32 noctua-vessel-2/README.md
var files embed.FS

// Files returns the folder of the shipped model: model.onnx, manifest.json, the golden tensors and README.md.
func Files() (fs.FS, error) {
	sub, err := fs.Sub(files, Shipped)
	if err != nil {
		return nil, fmt.Errorf("finding the embedded model: %w", err)
	}
	return sub, nil
}
