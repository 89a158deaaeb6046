package isolated

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// Bounds of what any file may cost.
const (
	mostMemory = 1 << 30
	mostTime   = time.Minute
)

// census counts outcomes, and keeps the worst costs.
type census struct {
	codes   map[string]int
	slowest time.Duration
	slow    string
	peak    int64
	large   string
}

// count reads a file with a fresh child, so that its costs are its own.
func (all *census) count(t *testing.T, name string, data []byte) {
	t.Helper()
	config := Config{}.orDefaults()
	c, _, err := start(config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	file, err := memoryFile(name, data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // only in memory
	began := time.Now()
	outcome, err := c.read(t.Context(), request{Size: int64(len(data)), Want: Picture}, file, config.Timeout)
	took := time.Since(began)
	peak := peakMemory(c.process.Process.Pid)
	c.end()
	var died *deathError
	code := "read"
	switch {
	case errors.As(err, &died):
		code = CodeLimit
		t.Logf("%s: %v", name, err)
	case err != nil:
		code = fault.CodeOf(err)
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) || code == "" {
			t.Errorf("%s: the outcome is no refusal: %v", name, err)
		}
	case outcome.Refused != nil:
		code = fault.CodeOf(outcome.Refused)
	case outcome.Undecoded != nil:
		code = fault.CodeOf(outcome.Undecoded)
	}
	all.codes[code]++
	if took > all.slowest {
		all.slowest, all.slow = took, name
	}
	if peak > all.peak {
		all.peak, all.large = peak, name
	}
}

func (all *census) report(t *testing.T, what string) {
	t.Helper()
	for _, code := range slices.Sorted(maps.Keys(all.codes)) {
		t.Logf("%s: %3d %s", what, all.codes[code], code)
	}
	t.Logf("%s: slowest %v (%s); most memory %d MB (%s)", what, all.slowest.Round(time.Millisecond), all.slow, all.peak>>20, all.large)
	if all.slowest > mostTime || all.peak > mostMemory {
		t.Errorf("%s: %v and %d MB are more than a file may take", what, all.slowest, all.peak>>20)
	}
}

// TestWhateverTheFile reads every hostile and odd file, and relatives of each hostile one, in children as the service does.
func TestWhateverTheFile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("bounds memory, which the race detector multiplies")
	}
	relatives := census{codes: map[string]int{}}
	for _, folder := range []string{"hostile", "conformance", "syntaxes"} {
		all := census{codes: map[string]int{}}
		root := shared.Dir(t, "dicom", folder)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all.count(t, entry.Name(), data)
			if folder == "hostile" {
				random := rand.New(rand.NewPCG(4, uint64(len(data))))
				for range relativesOfEach {
					relatives.count(t, "a relative of "+entry.Name(), relative(random, data))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		all.report(t, folder)
		if all.codes[CodeLimit] > 0 {
			t.Errorf("%s: %d files end their reader; the reader should refuse them itself", folder, all.codes[CodeLimit])
		}
	}
	relatives.report(t, "relatives")
	if relatives.codes[CodeLimit] > 0 {
		t.Errorf("%d relatives end their reader", relatives.codes[CodeLimit])
	}
}

const relativesOfEach = 8

// relative is a file that resembles data: cut, with bytes or a length changed, or with a piece repeated.
func relative(random *rand.Rand, data []byte) []byte {
	out := bytes.Clone(data)
	if len(out) < 8 {
		return out
	}
	for range 1 + random.IntN(3) {
		at := random.IntN(len(out) - 4)
		if random.IntN(2) == 0 { // near the header, where structure is dense
			at = random.IntN(min(len(out)-4, 1200))
		}
		switch random.IntN(5) {
		case 0:
			out[at] ^= byte(1 << random.IntN(8))
		case 1:
			lengths := []uint32{0, 1, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, random.Uint32()}
			binary.LittleEndian.PutUint32(out[at:], lengths[random.IntN(len(lengths))])
		case 2:
			out = out[:max(8, at)]
		case 3:
			piece := bytes.Clone(out[at:min(len(out), at+random.IntN(300))])
			out = slices.Insert(out, at, piece...)
		default:
			binary.LittleEndian.PutUint16(out[at:], uint16(random.Uint32()))
		}
	}
	return out
}
