package isolated

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/go-seccomp-bpf"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// escapeVariable makes the test binary lock itself up and then try to get out.
const escapeVariable = "NOCTUA_ESCAPE_TEST"

func TestMain(m *testing.M) {
	Serve()
	if dir := os.Getenv(escapeVariable); dir != "" {
		tryToEscape(dir)
		return
	}
	os.Exit(m.Run())
}

func newReader(t testing.TB, config Config) *Reader {
	t.Helper()
	r := New(config, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(r.Close)
	return r
}

// square is a sound picture of side × side pixels.
func square(side int) []byte {
	pixels := make([]byte, 3*side*side)
	for i := range pixels {
		pixels[i] = byte(i * 7 / 3)
	}
	return dicomtest.Native().With(dicomtest.Elements{
		0x00280010: dicomtest.Number(uint16(side)), 0x00280011: dicomtest.Number(uint16(side)), 0x7FE00010: {VR: "OB", Value: pixels},
	}).Encode(false)
}

// squareJPEG is a picture like a photograph, as cameras send it: smooth, in JPEG.
func squareJPEG(t testing.TB, side int) []byte {
	t.Helper()
	picture := raster.NewRGB(side, side)
	for y := range side {
		for x := range side {
			i := 3 * (y*side + x)
			picture.Pix[i], picture.Pix[i+1], picture.Pix[i+2] = byte(128+x*100/side), byte(60+(x+y)*50/side), byte((x*y/side)&31)
		}
	}
	jpeg, err := pixel.EncodeJPEG(picture, 90)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	err = dicom.WriteOP(&file, dicom.FundusAttributes{PatientID: "P1", Laterality: record.RightEye, AcquiredAt: time.Unix(1e9, 0).UTC()}, jpeg)
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestAnOutcomeIsWhatTheReaderItselfSays(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{})
	data := square(50)
	file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	instance, err := file.Describe()
	if err != nil {
		t.Fatal(err)
	}
	picture, _, err := file.Decode()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Want{Judgement, Picture} {
		got, err := r.ReadBytes(t.Context(), data, want)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(picture.Pix)
		if got.PixelSHA256 != hex.EncodeToString(digest[:]) || got.Refused != nil || got.Undecoded != nil || got.TransferSyntax != file.TransferSyntax {
			t.Errorf("outcome is %+v", got)
		}
		if got.Instance.Patient != instance.Patient || got.Instance.SOPUID != instance.SOPUID {
			t.Errorf("instance is %+v, not %+v", got.Instance, instance)
		}
		if source, err := file.Source(&instance); err != nil || want == Picture && !reflect.DeepEqual(got.Source, source) || want != Picture && got.Source.SOPUID != "" {
			t.Errorf("source is %+v, not %+v: %v", got.Source, source, err)
		}
		if has := got.Picture != nil; has != (want == Picture) {
			t.Errorf("asked for %v: a picture is %v", want, has)
		}
		if want == Picture && !bytes.Equal(got.Picture.Pix, picture.Pix) {
			t.Error("the pixels differ")
		}
	}
}

func TestRefusalsComeThrough(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{})
	noEye := dicomtest.Native().With(dicomtest.Elements{0x00200062: {}}).Encode(false)
	outcome, err := r.ReadBytes(t.Context(), noEye, Judgement)
	if err != nil || fault.CodeOf(outcome.Refused) != dicom.CodeLateralityMissing || outcome.Instance.Patient.ID != "P1" {
		t.Errorf("no laterality: %+v, %v", outcome, err)
	}
	if outcome, err = r.ReadBytes(t.Context(), noEye, Picture); err != nil || outcome.Picture == nil {
		t.Errorf("a refused picture cannot be looked at: %+v, %v", outcome, err)
	}
	_, err = r.ReadBytes(t.Context(), []byte("hello"), Judgement)
	if !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != dicom.CodeNotDICOM || !strings.Contains(fault.SentenceOf(err), "5 bytes") {
		t.Errorf("no DICOM: %v", err)
	}
}

func TestAChildThatDiesIsTheOutcomeOfItsFileAlone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("bounds memory, which the race detector multiplies")
	}
	r := newReader(t, Config{Children: 1, MemoryBytes: 96 << 20})
	if _, err := r.ReadBytes(t.Context(), square(10), Judgement); err != nil {
		t.Fatal(err)
	}
	deep := dicomtest.Native().With(dicomtest.Elements{ // 128 MB of samples, which have to be reduced to 8 bits
		0x00280002: dicomtest.Number(1), 0x00280004: dicomtest.Text("CS", "MONOCHROME2"), 0x00280006: {}, 0x00280010: dicomtest.Number(8000), 0x00280011: dicomtest.Number(8000),
		0x00280100: dicomtest.Number(16), 0x00280101: dicomtest.Number(16), 0x00280102: dicomtest.Number(15), 0x7FE00010: {VR: "OW", Value: make([]byte, 2*8000*8000)},
	}).Encode(false)
	_, err := r.ReadBytes(t.Context(), deep, Judgement)
	if !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != CodeLimit {
		t.Fatalf("too large for its memory: %v", err)
	}
	if !strings.Contains(err.Error(), "out of memory") && !strings.Contains(err.Error(), "cannot allocate memory") {
		t.Errorf("the reason is not told: %v", err)
	}
	if _, err := r.ReadBytes(t.Context(), square(10), Judgement); err != nil {
		t.Errorf("after a child's death: %v", err)
	}
}

// TestAKilledChildIsNotTheFilesFault: a child that something else ended, like a kernel short of memory, costs its file nothing.
func TestAKilledChildIsNotTheFilesFault(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 1})
	if _, err := r.ReadBytes(t.Context(), square(10), Judgement); err != nil {
		t.Fatal(err)
	}
	if err := r.idle[0].process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadBytes(t.Context(), square(10), Judgement); err != nil {
		t.Errorf("after its child was killed: %v", err)
	}
}

// TestAChildThatMetABadFileIsReplaced: whatever the file did to it goes with it.
func TestAChildThatMetABadFileIsReplaced(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 1})
	deep := dicomtest.Native().With(dicomtest.Elements{
		0x00280100: dicomtest.Number(32), 0x00280101: dicomtest.Number(32), 0x00280102: dicomtest.Number(31), 0x7FE00010: {VR: "OW", Value: make([]byte, 144)},
	}).Encode(false)
	for name, data := range map[string][]byte{"no DICOM": []byte("hello"), "pixels that are not decoded": deep} {
		outcome, err := r.ReadBytes(t.Context(), data, Judgement)
		if err == nil && outcome.Undecoded == nil {
			t.Fatalf("%s: %+v", name, outcome)
		}
		if len(r.idle) != 0 {
			t.Errorf("%s: the child waits for another file", name)
		}
	}
}

func TestTimeIsBounded(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 1})
	c, _, err := start(r.config)
	if err != nil {
		t.Fatal(err)
	}
	data := square(4000)
	file, err := memoryFile("test", data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	_, err = c.read(t.Context(), request{Size: int64(len(data))}, file, time.Microsecond)
	var died *deathError
	if !errors.As(err, &died) || !died.late {
		t.Errorf("a microsecond for 16 megapixels: %v", err)
	}
}

func TestCancellingIsNotTheFilesFault(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.ReadBytes(ctx, square(10), Judgement); !fault.Interrupted(err) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := r.ReadBytes(t.Context(), square(10), Judgement); err != nil {
		t.Errorf("after a cancelled one: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 3})
	var group sync.WaitGroup
	for i := range 24 {
		group.Go(func() {
			side := 10 + i
			got, err := r.ReadBytes(t.Context(), square(side), Picture)
			if err != nil || got.Picture.Width != side {
				t.Errorf("side %d: %v", side, err)
			}
		})
	}
	group.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.idle); n < 1 || n > 3 {
		t.Errorf("%d children are idle", n)
	}
}

func TestAChildEndsWithItsParent(t *testing.T) {
	t.Parallel()
	c, warning, err := start(Config{}.orDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if warning != "" && seccomp.Supported() {
		t.Errorf("a child is not locked up: %s", warning)
	}
	if err := c.socket.Close(); err != nil { // what the kernel does when the parent dies
		t.Fatal(err)
	}
	if err := c.process.Wait(); err != nil {
		t.Errorf("the child ended with %v: %s", err, c.stderr)
	}
}

// TestAChildIsLockedUp asks the kernel, for every thread.
func TestAChildIsLockedUp(t *testing.T) {
	t.Parallel()
	if !seccomp.Supported() {
		t.Skip("PROTECTION NOT TESTED: this kernel has no seccomp")
	}
	r := newReader(t, Config{Children: 1})
	if _, err := r.ReadBytes(t.Context(), square(10), Judgement); err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", r.idle[0].process.Process.Pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads %v: %v", tasks, err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(status, []byte("Seccomp:\t2\n")) || !bytes.Contains(status, []byte("NoNewPrivs:\t1\n")) {
			t.Errorf("a thread of a child is not locked up: %s", status)
		}
	}
}

func TestAChildKnowsNoSecrets(t *testing.T) {
	t.Setenv("NOCTUA_TEST_SECRET", "hidden")
	c, _, err := start(Config{}.orDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(environ, []byte("hidden")) {
		t.Errorf("the child has the environment %q", environ)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	harmless := []string{"/dev/null", "pipe:", "socket:", "anon_inode:", "/sys/fs/cgroup/"} // Go's runtime reads its CPU quota
	for _, fd := range fds {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", c.process.Process.Pid, fd.Name()))
		if err == nil && !slices.ContainsFunc(harmless, func(prefix string) bool { return strings.HasPrefix(target, prefix) }) {
			t.Errorf("the child holds %s", target)
		}
	}
}

func TestTheFileCannotBeChangedByItsReader(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "spool")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := os.Remove(file.Name()); err != nil {
		t.Fatal(err)
	}
	again, err := readOnly(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if _, err := again.WriteString("x"); err == nil {
		t.Error("the descriptor that a child gets can be written to")
	}
}

// attempts are what a locked-up process must fail at.
func attempts(dir string) map[string]func() error {
	return map[string]func() error{
		"read a file":  func() error { _, err := os.ReadFile("/etc/passwd"); return err },
		"write a file": func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		"remove":       func() error { return os.Remove(filepath.Join(dir, "there")) },
		"rename":       func() error { return os.Rename(filepath.Join(dir, "there"), filepath.Join(dir, "else")) },
		"list":         func() error { _, err := os.ReadDir("/"); return err },
		"connect":      func() error { _, err := net.Dial("tcp", "127.0.0.1:9"); return err },
		"listen":       func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err },
		"execute":      func() error { return exec.Command("/bin/true").Run() },
		"signal":       func() error { return syscall.Kill(os.Getppid(), 0) },
		"trace":        func() error { return syscall.PtraceAttach(1 << 22) }, // nobody: a process that it did attach to would stand still
		"raise limits": func() error { return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 9, Max: 9}) },
	}
}

func tryToEscape(dir string) {
	// On a thread that was there before: the lock must hold for all of them.
	locked, done := make(chan struct{}), make(chan struct{})
	ready := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		close(ready)
		<-locked
		attemptAll(dir)
	}()
	<-ready
	if err := lockUp(); err != nil {
		fmt.Println("unprotected:", err)
		return
	}
	close(locked)
	<-done
}

func attemptAll(dir string) {
	for name, attempt := range attempts(dir) {
		err := attempt()
		switch {
		case err == nil:
			fmt.Println("did:", name)
		case errors.Is(err, syscall.EPERM):
			fmt.Println("failed:", name)
		default:
			fmt.Println("failed for another reason:", name, err)
		}
	}
}

func TestALockedUpProcessCannotGetOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self)
	command.Env = append(os.Environ(), escapeVariable+"="+dir)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.HasPrefix(string(out), "unprotected:") && !seccomp.Supported() {
		t.Skipf("PROTECTION NOT TESTED: %s", out)
	}
	if failed := strings.Count(string(out), "failed: "); failed != len(attempts(dir)) {
		t.Errorf("a locked-up process\n%s", out)
	}
}

// BenchmarkRead compares reading in this process with reading in a child, which ends with pixels in the memory of this process too.
func BenchmarkRead(b *testing.B) {
	for _, side := range []int{640, 2000, 4000} {
		for encoding, data := range map[string][]byte{"native": square(side), "JPEG": squareJPEG(b, side)} {
			b.Run(fmt.Sprintf("%d/%s/here", side, encoding), func(b *testing.B) {
				for b.Loop() {
					file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := file.Describe(); err != nil {
						b.Fatal(err)
					}
					picture, _, err := file.Decode()
					if err != nil {
						b.Fatal(err)
					}
					_ = sha256.Sum256(picture.Pix)
				}
			})
			for want, name := range map[Want]string{Judgement: "judgement", Picture: "picture"} {
				b.Run(fmt.Sprintf("%d/%s/child, %s", side, encoding, name), func(b *testing.B) {
					r := newReader(b, Config{})
					file, err := memoryFile("bench", data)
					if err != nil {
						b.Fatal(err)
					}
					defer func() { _ = file.Close() }()
					for b.Loop() {
						got, err := r.Read(b.Context(), file, int64(len(data)), want)
						if err != nil {
							b.Fatal(err)
						}
						if want == Picture {
							r.Recycle(got.Picture) // as segment does
						}
					}
				})
			}
		}
	}
}
