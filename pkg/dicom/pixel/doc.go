// Package pixel turns encoded pictures into 8-bit RGB and back.
//
// JPEG goes through libjpeg-turbo (TurboJPEG API, with smooth chroma upsampling, as Pillow does, which training uses: the
// two give identical pixels). Everything else is for data sets and single pictures: PNG, TIFF, GIF.
//
// Guarantees: the header is read and checked against Limits before anything of the picture's size is allocated; a picture
// that ends early or is damaged is an error and never a half-grey picture; nothing here keeps state between calls, so all
// functions may be called from many goroutines.
//
// It imports pkg/fault and pkg/raster, golang.org/x/image and, through cgo, libturbojpeg.
package pixel
