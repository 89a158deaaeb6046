package embedded

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// fileMode of objects: they are patient data.
const fileMode = 0o600

const (
	// publishLocks is the number of locks that keep removals and publications in one bucket apart; more buckets share one.
	publishLocks = 64
	// maxSegmentBytes is the longest file name of Linux file systems.
	maxSegmentBytes = 255
	maxKeyBytes     = 1024    // S3's own limit
	maxCopyBytes    = 5 << 30 // S3's own limit
)

// durable is the S3 server's file-system backend, made durable: versitygw itself never syncs.
type durable struct {
	*posix.Posix
	root    string // absolute folder of the buckets
	sidecar string // absolute folder of attributes, "" if they are extended attributes
	inbox   string
	wake    *notifier
	sync    func(*os.File) error
	publish [publishLocks]sync.RWMutex
}

var _ backend.Backend = (*durable)(nil)

// openBackend opens the folder s3/ within dataDir. It changes the working directory to it, which the backend needs.
func openBackend(cfg Config, dataDir string, wake *notifier) (*durable, error) {
	d := &durable{root: filepath.Join(dataDir, "s3"), inbox: cfg.buckets().Inbox, wake: wake, sync: cfg.sync}
	// Not "s3-meta": the backend takes every folder whose name begins with the root's for one within it.
	sidecar := filepath.Join(dataDir, "meta-s3")
	if err := os.MkdirAll(d.root, dirMode); err != nil {
		return nil, fault.Wrap(fault.Invalid, "data-folder", err, "the folder %s cannot be made; choose another data folder", d.root)
	}
	if err := d.syncFile(dataDir); err != nil {
		return nil, fault.Wrap(fault.Internal, "data-folder", err, "the folder %s cannot be synced to disk", dataDir)
	}
	useSidecar, err := needsSidecar(d.root, sidecar, cfg.ForceSidecar)
	if err != nil {
		return nil, err
	}
	var store meta.MetadataStorer = meta.XattrMeta{}
	options := posix.PosixOpts{ValidateBucketNames: true, CopyObjectThreshold: maxCopyBytes}
	options.SetNewDirPerm(dirMode)
	options.SetNewFilePerm(fileMode)
	if useSidecar {
		if err := os.MkdirAll(sidecar, dirMode); err != nil {
			return nil, fault.Wrap(fault.Invalid, "data-folder", err, "the folder %s cannot be made; choose another data folder", sidecar)
		}
		if store, err = meta.NewSideCar(sidecar); err != nil {
			return nil, fault.Wrap(fault.Internal, "s3-start", err, "opening the attribute folder %s", sidecar)
		}
		d.sidecar, options.SideCarDir = sidecar, sidecar
		cfg.Logger.Warn("the file system has no extended attributes; object attributes are kept in a folder of their own", "folder", sidecar)
	}
	if d.Posix, err = posix.New(d.root, store, options); err != nil {
		return nil, fault.Wrap(fault.Internal, "s3-start", err, "opening the object folder %s", d.root)
	}
	return d, nil
}

// needsSidecar decides where attributes go. What a folder began with it keeps: attributes are not carried over.
func needsSidecar(root, sidecar string, force bool) (bool, error) {
	if _, err := os.Stat(sidecar); err == nil {
		return true, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, "data-folder", err, "the folder %s cannot be read", root)
	}
	const probe = "user.noctua.probe"
	err = unix.Setxattr(root, probe, []byte("1"), 0)
	if err == nil {
		err = unix.Removexattr(root, probe)
	}
	supported := err == nil
	switch {
	case supported && force && len(entries) > 0, !supported && len(entries) > 0:
		return false, fault.New(fault.Invalid, "data-folder",
			"the objects in %s were stored with extended attributes, which cannot be used here; copy the data folder with its attributes (cp -a, rsync -X) to a file system that has them", root)
	case supported:
		return force, nil
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return true, nil
	}
	return false, fault.Wrap(fault.Invalid, "data-folder", err, "the folder %s does not take extended attributes; choose another data folder", root)
}

// publication is the moment in which an object gets its name: it begins when all bytes have arrived, so that a slow client
// holds up nobody, and excludes removals in the bucket. Without that, the backend's removal, which compares the ETag and removes
// in two steps, could remove an object that was overwritten in between; and it removes folders that become
// empty, so that a put into the same folder fails.
type publication struct {
	lock *sync.RWMutex
	held bool
}

func (d *durable) lockOf(bucket string) *sync.RWMutex {
	h := fnv.New32a()
	_, _ = io.WriteString(h, bucket) // a hash cannot fail
	return &d.publish[h.Sum32()%publishLocks]
}

func (d *durable) publication(bucket string) *publication {
	return &publication{lock: d.lockOf(bucket)}
}

func (p *publication) begin() {
	if !p.held {
		p.lock.RLock()
		p.held = true
	}
}

func (p *publication) end() {
	if p.held {
		p.lock.RUnlock()
		p.held = false
	}
}

// arriving begins the publication when the body ends.
type arriving struct {
	body io.Reader
	p    *publication
}

func (a *arriving) Read(buf []byte) (int, error) {
	n, err := a.body.Read(buf)
	if err == io.EOF {
		a.p.begin()
	}
	return n, err
}

// checkKey refuses keys that the backend would store and never list, or answer with a misleading error.
func checkKey(key string) error {
	if len(key) > maxKeyBytes {
		return s3err.GetKeyTooLongErr(int64(len(key)), maxKeyBytes)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == posix.MetaTmpDir {
			return s3err.GetAPIError(s3err.ErrInvalidURI)
		}
		if len(segment) > maxSegmentBytes {
			return s3err.GetKeyTooLongErr(int64(len(segment)), maxSegmentBytes)
		}
	}
	return nil
}

// PutObject stores an object durably before it answers.
func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	if in.Bucket == nil || in.Key == nil {
		return d.Posix.PutObject(ctx, in)
	}
	if err := checkKey(*in.Key); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	p := d.publication(*in.Bucket)
	if in.Body == nil || strings.HasSuffix(*in.Key, "/") {
		p.begin() // nothing to wait for
	} else {
		in.Body = middlewares.NewChecksumReader(in.Body, &arriving{in.Body, p})
	}
	out, err := d.PutObjectWithPostFunc(ctx, in, func(f *os.File) error {
		p.begin()
		// Before the name exists: whoever sees the object after a crash sees all of its bytes.
		if err := d.sync(f); err != nil {
			return fmt.Errorf("syncing the object: %w", err)
		}
		return nil
	})
	p.end()
	if err != nil {
		return out, err
	}
	return out, d.stored(*in.Bucket, *in.Key)
}

// CreateMultipartUpload refuses bad keys before the parts are sent.
func (d *durable) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	if in.Key != nil {
		if err := checkKey(*in.Key); err != nil {
			return s3response.InitiateMultipartUploadResult{}, err
		}
	}
	return d.Posix.CreateMultipartUpload(ctx, in)
}

// CompleteMultipartUpload puts an object's parts together durably before it answers.
func (d *durable) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	if in.Bucket == nil || in.Key == nil || in.MultipartUpload == nil {
		return d.Posix.CompleteMultipartUpload(ctx, in)
	}
	p, left := d.publication(*in.Bucket), len(in.MultipartUpload.Parts)
	result, version, err := d.CompleteMultipartUploadWithCopy(ctx, in, func(from, to *os.File) (bool, error) {
		// True: the parts remain, so the client may complete again.
		if _, err := io.Copy(to, from); err != nil {
			return true, fmt.Errorf("copying a part: %w", err)
		}
		if left--; left > 0 {
			return true, nil
		}
		err := d.sync(to) // before the name exists, as in PutObject
		p.begin()
		return true, err
	})
	p.end()
	if err != nil {
		return result, version, err
	}
	return result, version, d.stored(*in.Bucket, *in.Key)
}

// CopyObject copies within the store; clients that move an object into the inbox use it.
func (d *durable) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	if in.Bucket == nil || in.Key == nil {
		return d.Posix.CopyObject(ctx, in)
	}
	if err := checkKey(*in.Key); err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	p := d.publication(*in.Bucket)
	p.begin()
	out, err := d.Posix.CopyObject(ctx, in)
	p.end()
	if err != nil {
		return out, err
	}
	return out, d.stored(*in.Bucket, *in.Key)
}

// DeleteObject removes an object, with no publication in between. Removals are not synced: one that a crash undoes is done
// again by whoever wanted it.
func (d *durable) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	if in.Bucket != nil {
		lock := d.lockOf(*in.Bucket)
		lock.Lock()
		defer lock.Unlock()
	}
	return d.Posix.DeleteObject(ctx, in)
}

// DeleteObjects removes up to 1000 objects, as DeleteObject.
func (d *durable) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	if in.Bucket != nil {
		lock := d.lockOf(*in.Bucket)
		lock.Lock()
		defer lock.Unlock()
	}
	return d.Posix.DeleteObjects(ctx, in)
}

// CreateBucket makes a bucket durably.
func (d *durable) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	if err := d.Posix.CreateBucket(ctx, in, acl); err != nil {
		return err
	}
	if in.Bucket == nil {
		return nil
	}
	return d.syncObject(*in.Bucket, "")
}

// stored syncs what the backend wrote by name, and wakes ingest.
func (d *durable) stored(bucket, key string) error {
	if err := d.syncObject(bucket, key); err != nil {
		return err
	}
	if bucket == d.inbox {
		d.wake.put(key)
	}
	return nil
}

// syncObject syncs the object's attributes and every folder from it up to the root: which of them are new cannot be told
// safely beside other puts and removals, and syncing a clean folder costs next to nothing.
func (d *durable) syncObject(bucket, key string) error {
	path := filepath.Join(d.root, bucket, filepath.FromSlash(key))
	if err := d.syncFile(path); err != nil {
		return err
	}
	if err := d.syncUp(filepath.Dir(path), d.root); err != nil {
		return err
	}
	if d.sidecar == "" {
		return nil
	}
	attributes := filepath.Join(d.sidecar, bucket, filepath.FromSlash(key), "meta")
	entries, err := os.ReadDir(attributes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading attributes: %w", err)
	}
	for _, entry := range entries {
		if err := d.syncFile(filepath.Join(attributes, entry.Name())); err != nil {
			return err
		}
	}
	return d.syncUp(attributes, d.sidecar)
}

// syncUp syncs folder and all above it, up to and including top.
func (d *durable) syncUp(folder, top string) error {
	for {
		if err := d.syncFile(folder); err != nil {
			return err
		}
		parent := filepath.Dir(folder)
		if folder == top || parent == folder {
			return nil
		}
		folder = parent
	}
}

// syncFile syncs a file or folder. One that is gone was removed by somebody else meanwhile: there is nothing to keep.
func (d *durable) syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening for sync: %w", err)
	}
	err = d.sync(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}
