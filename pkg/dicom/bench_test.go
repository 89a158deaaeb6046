package dicom_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/test/shared"
)

// BenchmarkSyntaxes reads and decodes one photograph of 640² pixels in 15 encodings. MB/s count decoded bytes.
func BenchmarkSyntaxes(b *testing.B) {
	paths := files(b, shared.Dir(b, "dicom", "syntaxes"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strings.TrimSuffix(filepath.Base(path), ".dcm"), func(b *testing.B) {
			b.SetBytes(3 * 640 * 640)
			for b.Loop() {
				f, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := f.Decode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
