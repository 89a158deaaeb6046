// Package pixel turns encoded pictures into 8-bit RGB and back.
//
// Lossless JPEG, JPEG-LS, JPEG 2000 with HTJ2K, RLE and uncompressed frames become Samples, to which a Format gives their
// colours. All but JPEG 2000 (OpenJPEG) are decoded in Go.
//
// JPEG goes through libjpeg-turbo (TurboJPEG API, with smooth chroma upsampling, as Pillow does, which training uses: the
// two give identical pixels). PNG, TIFF, GIF and the like are for data sets and single pictures.
//
// Guarantees: the header is read and checked against Limits before anything of the picture's size is allocated; a picture
// that ends early or is damaged is an error and never a half-grey picture; nothing here keeps state between calls, so all
// functions may be called from many goroutines.
//
// It imports pkg/fault and pkg/raster, golang.org/x/image and, through cgo, libturbojpeg and libopenjp2.
package pixel
