package dicom

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	maxUIDBytes = 64
	// maxTextBytes bounds a text value: PN allows 3 × 64 characters of up to 4 bytes.
	maxTextBytes = 4096
)

// validUID tells whether s is a UID, and so safe as a segment of an object key: digits in components between dots.
// Leading zeros are wrong, but are written by real devices and do no harm.
func validUID(s string) bool {
	if len(s) == 0 || len(s) > maxUIDBytes {
		return false
	}
	digits := 0
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && digits > 0:
			digits = 0
		default:
			return false
		}
	}
	return digits > 0
}

// raw loads the value of an attribute without padding; nil if it is missing or empty.
func (f *File) raw(d *Dataset, t Tag) ([]byte, error) {
	e := d.Find(t)
	if e == nil || e.Length == 0 {
		return nil, nil
	}
	if e.Items != nil || !e.VR.textual() && e.VR != vrUN {
		return nil, invalid(CodeValue, "the attribute %s should be text, but has type %s", t, e.VR)
	}
	if e.Length > maxTextBytes {
		return nil, invalid(CodeValue, "the attribute %s is %d bytes long, more than the limit of %d", t, e.Length, maxTextBytes)
	}
	raw, err := f.load(e)
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(raw, "\x00 "), nil
}

// ascii reads an attribute of the default repertoire (CS, UI, DA, …); unprintable characters become U+FFFD.
func (f *File) ascii(d *Dataset, t Tag) (string, error) {
	raw, err := f.raw(d, t)
	text, _ := characterSet{}.decode(raw)
	return strings.Trim(text, " "), err
}

// uint16At reads a US attribute. ok is false if it is missing or empty.
func (f *File) uint16At(d *Dataset, t Tag) (value int, ok bool, err error) {
	e := d.Find(t)
	if e == nil || e.Length == 0 {
		return 0, false, nil
	}
	if e.Length != 2 || e.VR.textual() || e.Items != nil {
		return 0, false, invalid(CodeGeometry, "the attribute %s should hold one 16-bit number, but has type %s and %d bytes", t, e.VR, e.Length)
	}
	raw, err := f.load(e)
	if err != nil {
		return 0, false, err
	}
	return int(f.order().Uint16(raw)), true, nil
}

// float reads an FL or FD attribute. ok is false if it is missing, empty or no number.
func (f *File) float(d *Dataset, t Tag) (value float64, ok bool, err error) {
	e := d.Find(t)
	if e == nil || e.Items != nil || e.Length != 4 && e.Length != 8 || e.VR.textual() {
		return 0, false, nil
	}
	raw, err := f.load(e)
	if err != nil {
		return 0, false, err
	}
	if e.Length == 4 {
		value = float64(math.Float32frombits(f.order().Uint32(raw)))
	} else {
		value = math.Float64frombits(f.order().Uint64(raw))
	}
	return value, !math.IsNaN(value) && !math.IsInf(value, 0), nil
}

// decimals reads a DS value with its parts.
func decimals(s string) []float64 {
	var out []float64
	for part := range strings.SplitSeq(s, `\`) {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		out = append(out, v)
	}
	return out
}

// The dates that devices write where they know none (DICOM has no other way to say so in a required attribute).
var placeholderDates = [...]string{"19000101", "00010101"}

// date turns a DA value into yyyy-mm-dd. ok is false for what is no date; missing and placeholder dates give "" and true.
func date(da string) (iso string, ok bool) {
	da = strings.ReplaceAll(da, ".", "") // ACR-NEMA wrote 1997.04.24
	if da == "" {
		return "", true
	}
	for _, p := range placeholderDates {
		if da == p {
			return "", true
		}
	}
	t, err := time.Parse("20060102", da)
	if err != nil {
		return "", false
	}
	return t.Format("2006-01-02"), true
}

// clock turns a TM value, cut to seconds, into hh:mm:ss; "" if it is none or has no seconds' worth of digits.
func clock(tm string) string {
	tm, _, _ = strings.Cut(strings.ReplaceAll(tm, ":", ""), ".")
	switch len(tm) {
	case 2:
		tm += "0000"
	case 4:
		tm += "00"
	}
	t, err := time.Parse("150405", tm)
	if err != nil {
		return ""
	}
	return t.Format("15:04:05")
}

// moment joins a date and a time of day as the camera wrote them.
func moment(da, tm string) (iso string, ok bool) {
	day, ok := date(da)
	if day == "" {
		return "", ok
	}
	if c := clock(tm); c != "" {
		return day + "T" + c, true
	}
	return day, true
}
