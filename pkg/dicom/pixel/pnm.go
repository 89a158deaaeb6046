package pixel

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
)

var errPNM = errors.New("not a binary PGM or PPM header with 8 bits a sample")

// readPNMHeader reads the header of a picture that begins with P5 (binary PGM) or P6 (binary PPM) up to its first sample:
// channels, width and height.
// Comments run from # to the end of the line; one white space ends the header (netpbm's pgm(5), ppm(5)).
func readPNMHeader(r *bufio.Reader) (channels, width, height int, err error) {
	var magic [2]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return 0, 0, 0, err
	}
	channels = 1
	if magic == [2]byte{'P', '6'} {
		channels = 3
	}
	var numbers [3]int
	for i := range numbers {
		if numbers[i], err = readPNMNumber(r); err != nil {
			return 0, 0, 0, err
		}
	}
	width, height = numbers[0], numbers[1]
	if width < 1 || height < 1 || numbers[2] != 255 {
		return 0, 0, 0, fmt.Errorf("%w: %d × %d, maximum %d", errPNM, width, height, numbers[2])
	}
	return channels, width, height, nil
}

// readPNMNumber skips white space and comments, and reads a number and the one byte after it.
func readPNMNumber(r *bufio.Reader) (int, error) {
	const most = 1 << 20
	value, digits, comment := 0, 0, false
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case comment:
			comment = c != '\n' && c != '\r'
		case c >= '0' && c <= '9':
			value, digits = value*10+int(c-'0'), digits+1
			if value > most {
				return 0, errPNM
			}
		case c == '#' && digits == 0:
			comment = true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if digits > 0 {
				return value, nil
			}
		default:
			return 0, errPNM
		}
	}
}

func decodePNMConfig(r io.Reader) (image.Config, error) {
	_, width, height, err := readPNMHeader(bufio.NewReader(r))
	return image.Config{ColorModel: color.NRGBAModel, Width: width, Height: height}, err
}

func decodePNM(r io.Reader) (image.Image, error) {
	in := bufio.NewReader(r)
	channels, width, height, err := readPNMHeader(in)
	if err != nil {
		return nil, err
	}
	if channels == 1 {
		grey := image.NewGray(image.Rect(0, 0, width, height))
		_, err := io.ReadFull(in, grey.Pix)
		return grey, err
	}
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	row := make([]byte, 3*width)
	for y := range height {
		if _, err := io.ReadFull(in, row); err != nil {
			return nil, err
		}
		for x := range width {
			out.SetNRGBA(x, y, color.NRGBA{R: row[3*x], G: row[3*x+1], B: row[3*x+2], A: 255})
		}
	}
	return out, nil
}
