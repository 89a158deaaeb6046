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
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// fileMode of objects: they are patient data.
const fileMode = 0o600

// publishLocks is the number of locks that keep removals and publications of one key apart; more keys share one.
const publishLocks = 256

// durable is the S3 server's file-system backend, made durable: versitygw itself never syncs.
type durable struct {
	*posix.Posix
	root    string // absolute folder of the buckets
	sidecar string // absolute folder of attributes, "" if they are extended attributes
	inbox   string
	wake    *notifier
	publish [publishLocks]sync.Mutex
}

var _ backend.Backend = (*durable)(nil)

// openBackend opens the folder s3/ within dataDir. It changes the working directory to it, which the backend needs.
func openBackend(cfg Config, dataDir string, wake *notifier) (*durable, error) {
	d := &durable{root: filepath.Join(dataDir, "s3"), inbox: cfg.buckets().Inbox, wake: wake}
	// Not "s3-meta": the backend takes every folder whose name begins with the root's for one within it.
	sidecar := filepath.Join(dataDir, "meta-s3")
	if err := os.MkdirAll(d.root, dirMode); err != nil {
		return nil, fault.Wrap(fault.Invalid, "data-folder", err, "the folder %s cannot be made; choose another data folder", d.root)
	}
	if err := syncFolder(dataDir); err != nil {
		return nil, err
	}
	useSidecar, err := needsSidecar(d.root, sidecar, cfg.ForceSidecar)
	if err != nil {
		return nil, err
	}
	var store meta.MetadataStorer = meta.XattrMeta{}
	options := posix.PosixOpts{ValidateBucketNames: true}
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

// lockKey keeps the publication of an object and a conditional removal of it apart; the backend's removal compares the
// ETag and removes in two steps.
func (d *durable) lockKey(bucket, key string) *sync.Mutex {
	h := fnv.New32a()
	_, _ = io.WriteString(h, bucket+"/"+key) // a hash cannot fail
	return &d.publish[h.Sum32()%publishLocks]
}

// PutObject stores an object durably before it answers.
func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	if in.Bucket == nil || in.Key == nil {
		return d.Posix.PutObject(ctx, in)
	}
	lock, locked := d.lockKey(*in.Bucket, *in.Key), false
	out, err := d.PutObjectWithPostFunc(ctx, in, func(f *os.File) error {
		// Before the name exists: whoever sees the object after a crash sees all of its bytes.
		if err := f.Sync(); err != nil {
			return fmt.Errorf("syncing the object: %w", err)
		}
		// The body has arrived, so that a slow client holds up nobody.
		lock.Lock()
		locked = true
		return nil
	})
	if locked {
		lock.Unlock()
	}
	if err != nil {
		return out, err
	}
	return out, d.stored(*in.Bucket, *in.Key)
}

// CompleteMultipartUpload puts an object's parts together durably before it answers.
func (d *durable) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	if in.Bucket == nil || in.Key == nil {
		return d.Posix.CompleteMultipartUpload(ctx, in)
	}
	lock := d.lockKey(*in.Bucket, *in.Key)
	lock.Lock()
	result, version, err := d.CompleteMultipartUploadWithCopy(ctx, in, func(from, to *os.File) (bool, error) {
		if _, err := io.Copy(to, from); err != nil {
			return true, fmt.Errorf("copying a part: %w", err)
		}
		// Before the name exists, as in PutObject. True: the parts remain, so the client may try again.
		return true, to.Sync()
	})
	lock.Unlock()
	if err != nil {
		return result, version, err
	}
	return result, version, d.stored(*in.Bucket, *in.Key)
}

// CopyObject copies within the store; clients that move an object into the inbox use it.
func (d *durable) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := d.Posix.CopyObject(ctx, in)
	if err != nil || in.Bucket == nil || in.Key == nil {
		return out, err
	}
	return out, d.stored(*in.Bucket, *in.Key)
}

// DeleteObject removes an object, without a publication of the same key in between. Removals are not synced: one that
// a crash undoes is done again by whoever wanted it.
func (d *durable) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	if in.Bucket != nil && in.Key != nil {
		lock := d.lockKey(*in.Bucket, *in.Key)
		lock.Lock()
		defer lock.Unlock()
	}
	return d.Posix.DeleteObject(ctx, in)
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
	if err := syncFile(path); err != nil {
		return err
	}
	if err := syncUp(filepath.Dir(path), d.root); err != nil {
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
		if err := syncFile(filepath.Join(attributes, entry.Name())); err != nil {
			return err
		}
	}
	return syncUp(attributes, d.sidecar)
}

// syncUp syncs folder and all above it, up to and including top.
func syncUp(folder, top string) error {
	for {
		if err := syncFile(folder); err != nil {
			return err
		}
		parent := filepath.Dir(folder)
		if folder == top || parent == folder {
			return nil
		}
		folder = parent
	}
}

func syncFolder(path string) error {
	if err := syncFile(path); err != nil {
		return fault.Wrap(fault.Internal, "data-folder", err, "the folder %s cannot be synced to disk", path)
	}
	return nil
}

// syncFile syncs a file or folder. One that is gone was removed by somebody else meanwhile: there is nothing to keep.
func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening for sync: %w", err)
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}
