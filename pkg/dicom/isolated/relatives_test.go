package isolated

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// relativesFor bounds the time of TestRelatives. All 20,000 relatives take half an hour, since a hundred of them are bombs.
var relativesFor = flag.Duration("relatives", 15*time.Second, "how long TestRelatives reads relatives of hostile files")

// leastRelatives are read however slow the machine is.
const leastRelatives = 200

// A variant is a file made of another, and how.
type variant struct {
	name string
	make func() []byte
}

// syntaxes are the transfer syntaxes that a relative is given: those that are read, and one that is not.
var syntaxes = []string{
	dicom.ImplicitLittleEndian, dicom.ExplicitLittleEndian, dicom.DeflatedLittleEndian, dicom.ExplicitBigEndian, dicom.RLELossless, dicom.JPEGBaseline,
	"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.55", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81",
	"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.110",
}

// relativesOf lists what can be made of a file: cut at many places, with every length changed, in every transfer syntax, deflated,
// concatenated, with every element twice, and with every count enlarged. The same file has the same relatives.
func relativesOf(data []byte) (out []variant) {
	add := func(name string, make func() []byte) { out = append(out, variant{name, make}) }
	splice := func(from, to int, with []byte) []byte { return slices.Concat(data[:from], with, data[to:]) }
	const cuts = 40
	for n := range cuts {
		add(fmt.Sprintf("cut to %d/%d", n, cuts), func() []byte { return bytes.Clone(data[:len(data)*n/cuts]) })
	}
	start := min(len(data), datasetStart(data))
	for _, uid := range syntaxes {
		add("in "+uid, func() []byte { return append(dicomtest.Header(uid, "1.2.3.4"), data[start:]...) })
	}
	add("deflated", func() []byte {
		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, flate.BestCompression)
		if err == nil {
			_, err = w.Write(data[start:])
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
		return append(dicomtest.Header(dicom.DeflatedLittleEndian, "1.2.3.4"), packed.Bytes()...)
	})
	add("twice", func() []byte { return slices.Concat(data, data) })
	add("data set twice", func() []byte { return slices.Concat(data, data[start:]) })
	add("before a sound one", func() []byte { return append(bytes.Clone(data), dicomtest.Native().Encode(false)...) })
	add("behind a sound one", func() []byte { return slices.Concat(dicomtest.Native().Encode(false), data) })

	f, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil || f.TransferSyntax == dicom.DeflatedLittleEndian {
		// Its structure is not known: every place may be a length.
		for at := 132; at+4 <= len(data); at += max(2, len(data)/100) {
			for _, length := range []uint32{0, 0xFFFFFFFF, 0x7FFFFFFE} {
				add(fmt.Sprintf("%#x at %d", length, at), func() []byte { return splice(at, at+4, binary.LittleEndian.AppendUint32(nil, length)) })
			}
		}
		return out
	}
	for _, e := range f.Data.Elements {
		at, end := int(e.Offset), int(e.Offset+e.Length)
		if at < 12 || end > len(data) {
			continue
		}
		for _, length := range []uint32{0, 1, uint32(e.Length) + 2, 0xFFFF, 0x7FFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF} { //nolint:gosec // any number will do
			add(fmt.Sprintf("%s of length %#x", e.Tag, length), func() []byte { return splice(at-4, at, binary.LittleEndian.AppendUint32(nil, length)) })
			add(fmt.Sprintf("%s of short length %#x", e.Tag, length), func() []byte { return splice(at-2, at, binary.LittleEndian.AppendUint16(nil, uint16(length))) }) //nolint:gosec // any number will do
		}
		for _, header := range []int{8, 12} {
			add(fmt.Sprintf("%s twice (%d)", e.Tag, header), func() []byte { return splice(end, end, data[at-header:end]) })
		}
		for _, fill := range []byte{0, 0x7F, 0xFF, '9', '\\', '-'} {
			if e.Length > 0 && e.Length <= 64 {
				add(fmt.Sprintf("%s filled with %#x", e.Tag, fill), func() []byte { return splice(at, end, bytes.Repeat([]byte{fill}, end-at)) })
			}
		}
	}
	return out
}

// datasetStart is where group 2 says that it ends, or where it begins.
func datasetStart(data []byte) int {
	const group2, lengthBytes = 132, 12
	if len(data) < group2+lengthBytes || !bytes.HasPrefix(data[group2:], []byte{2, 0, 0, 0, 'U', 'L'}) {
		return group2
	}
	return group2 + lengthBytes + int(min(binary.LittleEndian.Uint32(data[group2+8:]), 1<<20))
}

// TestRelatives reads relatives of every hostile file, of a sound one and of a photograph as the service does: whatever they are, the
// service has an answer with a code, within the limits, and the next file is read.
func TestRelatives(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("bounds memory, which the race detector multiplies")
	}
	sources := map[string][]byte{"sound": dicomtest.Native().Encode(false), "sound, implicit": dicomtest.Native().Encode(true)}
	for _, pattern := range []string{"hostile/*.dcm", "syntaxes/jpeg-baseline-fragments.dcm", "syntaxes/j2k-lossy.dcm", "syntaxes/rle.dcm"} {
		paths, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom"), pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sources[filepath.Base(path)] = data
		}
	}
	var all []variant
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		for _, v := range relativesOf(sources[source]) {
			all = append(all, variant{source + " " + v.name, v.make})
		}
	}
	// The same order always, but every source and change early in it.
	rand.New(rand.NewPCG(7, 7)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })

	var mu sync.Mutex
	var worst Cost
	reader := New(Config{Children: 1, Observe: func(c Cost) {
		mu.Lock()
		defer mu.Unlock()
		worst.Duration, worst.PeakBytes = max(worst.Duration, c.Duration), max(worst.PeakBytes, c.PeakBytes)
	}}, slog.New(slog.DiscardHandler))
	defer reader.Close()
	codes := map[string]int{}
	deadline := time.Now().Add(*relativesFor)
	read := 0
	for _, v := range all {
		if read >= leastRelatives && time.Now().After(deadline) {
			break
		}
		read++
		outcome, err := reader.ReadBytes(t.Context(), v.make(), Judgement)
		if err == nil {
			err = outcome.Judgement()
		}
		code := fault.CodeOf(err)
		switch {
		case err == nil && (outcome.Instance.StudyUID == "" || outcome.Instance.SOPUID == "" || outcome.Instance.Patient.ID == ""):
			t.Errorf("%s: let in without its identity: %+v", v.name, outcome.Instance)
		case err == nil:
			code = "let in"
		case code == "" || code == CodeLimit || !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported):
			t.Errorf("%s: no refusal of the reader's own: %v", v.name, err)
		}
		codes[code]++
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		t.Logf("%6d %s", codes[code], code)
	}
	t.Logf("%d of %d relatives read; slowest %v, most memory %d MB", read, len(all), worst.Duration.Round(time.Millisecond), worst.PeakBytes>>20)
	if read < leastRelatives || codes["let in"] == 0 {
		t.Errorf("only %d relatives were read, %d of them let in", read, codes["let in"])
	}
	if worst.Duration > mostTime || worst.PeakBytes > mostMemory || worst.PeakBytes == 0 {
		t.Errorf("%v and %d bytes are more than a file may take, or were not measured", worst.Duration, worst.PeakBytes)
	}
	if outcome, err := reader.ReadBytes(t.Context(), sources["sound"], Judgement); err != nil || outcome.Judgement() != nil || !outcome.Instance.Analyse {
		t.Errorf("after all that, a sound file: %v, %v", err, outcome.Judgement())
	}
}
