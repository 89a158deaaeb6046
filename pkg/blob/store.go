package blob

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// DefaultBucketPrefix is what Noctua's bucket names begin with.
	DefaultBucketPrefix = "noctua-"

	// clientRetries is how often minio-go sends a request whose body can be sent again. Two: enough for a dropped
	// connection; longer outages are the caller's (NakWithDelay), who can wait without holding an image in memory.
	clientRetries = 2
	// conflictAttempts bounds the repeats of a PUT that is answered with 409, which may pass.
	conflictAttempts = 5
	// conflictPause is the first pause between them; it doubles.
	conflictPause = 20 * time.Millisecond
	// maxPutBytes is the largest object of one PUT request in S3.
	maxPutBytes = 5 << 30

	dialTimeout     = 5 * time.Second
	responseTimeout = 60 * time.Second // until the first byte of an answer; a PUT of 512 MB on a slow disk is fsynced by then
	idleTimeout     = 90 * time.Second
	maxIdlePerHost  = 64 // workers of one process; the default of 2 would open a connection a request
)

// Config says where the store is. Secrets are never part of an error or of a log line.
type Config struct {
	Endpoint     string // host:port, or a URL whose scheme then decides Secure
	AccessKey    string
	SecretKey    string
	Secure       bool   // HTTPS
	Region       string // default us-east-1
	BucketPrefix string // default noctua-
}

// Validate says in a sentence what is wrong.
func (c Config) Validate() error {
	switch {
	case c.Endpoint == "":
		return fault.New(fault.Invalid, "config-invalid", "the S3 endpoint is missing; give it as host:port or as a URL")
	case c.AccessKey == "" || c.SecretKey == "":
		return fault.New(fault.Invalid, "config-invalid", "the S3 access key or secret key is missing")
	case len(c.BucketPrefix) > 40:
		return fault.New(fault.Invalid, "config-invalid", "the bucket prefix %q is longer than 40 letters; bucket names have at most 63", c.BucketPrefix)
	}
	return nil
}

// Buckets are the names of Noctua's buckets.
type Buckets struct{ Inbox, Archive, Results, Reports, Quarantine, Audit string }

// All lists the names.
func (b Buckets) All() []string {
	return []string{b.Inbox, b.Archive, b.Results, b.Reports, b.Quarantine, b.Audit}
}

// BucketsOf names the buckets under a prefix; an empty prefix is DefaultBucketPrefix.
func BucketsOf(prefix string) Buckets {
	if prefix == "" {
		prefix = DefaultBucketPrefix
	}
	return Buckets{
		Inbox: prefix + "inbox", Archive: prefix + "archive", Results: prefix + "results",
		Reports: prefix + "reports", Quarantine: prefix + "quarantine", Audit: prefix + "audit",
	}
}

// Info describes an object.
type Info struct {
	Key  string
	ETag string // without quotes; compare it, never take it for an MD5
	Size int64
	// LastModified is in UTC and whole seconds, so that a listing, a Stat and a Get of one object agree on every store.
	LastModified time.Time
}

// PutOptions are a put's conditions.
type PutOptions struct {
	ContentType string // default application/octet-stream
	IfNoneMatch bool   // only if no object has the key
}

// Store is a client of an S3 store. It is safe for concurrent use.
type Store struct {
	client    *minio.Client
	http      *http.Client
	transport *http.Transport
	buckets   Buckets
	region    string
}

// New makes a client; it does not talk to the store yet.
func New(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	endpoint, secure := cfg.Endpoint, cfg.Secure
	switch {
	case strings.HasPrefix(endpoint, "https://"):
		endpoint, secure = strings.TrimPrefix(endpoint, "https://"), true
	case strings.HasPrefix(endpoint, "http://"):
		endpoint, secure = strings.TrimPrefix(endpoint, "http://"), false
	}
	endpoint = strings.TrimSuffix(endpoint, "/")
	region := cfg.Region
	if region == "" {
		region = "us-east-1"
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   maxIdlePerHost,
		IdleConnTimeout:       idleTimeout,
		ResponseHeaderTimeout: responseTimeout,
		TLSHandshakeTimeout:   dialTimeout,
		DisableCompression:    true, // bytes as they are stored
	}
	client, err := minio.New(endpoint, &minio.Options{
		Creds:        credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure:       secure,
		Region:       region, // given, so that no request asks for it
		Transport:    transport,
		BucketLookup: minio.BucketLookupAuto,
		MaxRetries:   clientRetries,
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "config-invalid", err, "the S3 endpoint %q should be host:port or a URL without a path", cfg.Endpoint)
	}
	return &Store{
		client: client, http: &http.Client{Transport: transport}, transport: transport,
		buckets: BucketsOf(cfg.BucketPrefix), region: region,
	}, nil
}

// Close lets go of idle connections. The store may still be used.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// Buckets returns the bucket names.
func (s *Store) Buckets() Buckets { return s.buckets }

// Ready asks the store for its inbox bucket.
func (s *Store) Ready(ctx context.Context) error {
	ok, err := s.client.BucketExists(ctx, s.buckets.Inbox)
	if err != nil {
		return s.fail(ctx, err, "asking for", s.buckets.Inbox, "")
	}
	if !ok {
		return fault.New(fault.Internal, "bucket-missing", "the bucket %s is missing; create it or let Noctua create its buckets at start", s.buckets.Inbox)
	}
	return nil
}

// EnsureBuckets creates the buckets that are missing.
func (s *Store) EnsureBuckets(ctx context.Context) error {
	for _, name := range s.buckets.All() {
		ok, err := s.client.BucketExists(ctx, name)
		if err != nil {
			return s.fail(ctx, err, "asking for", name, "")
		}
		if ok {
			continue
		}
		err = s.client.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: s.region})
		// Another process of Noctua may have been quicker.
		if code := minio.ToErrorResponse(err).Code; err != nil && code != "BucketAlreadyOwnedByYou" && code != "BucketAlreadyExists" {
			return s.fail(ctx, err, "creating", name, "")
		}
	}
	return nil
}

// Put stores size bytes of r under key in one atomic PUT. Nothing of a put that fails is visible.
// With IfNoneMatch and an object of that key it fails with a Conflict "object-exists". A connection that breaks after the
// store has taken the object makes the repeated request see its own object and fail the same way: whoever puts
// conditionally must treat "object-exists" with its own content as success.
func (s *Store) Put(ctx context.Context, bucket, key string, r io.Reader, size int64, opts PutOptions) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if size < 0 || size > maxPutBytes {
		return fault.New(fault.Invalid, "object-too-large", "an object of %d bytes cannot be put at once; the largest has %d", size, int64(maxPutBytes))
	}
	contentType := opts.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	put := minio.PutObjectOptions{ContentType: contentType, DisableMultipart: true}
	if opts.IfNoneMatch {
		put.SetMatchETagExcept("*")
	}
	seeker, canRewind := r.(io.ReadSeeker)
	var start int64
	if canRewind {
		var err error
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			return fault.Wrap(fault.Internal, "object-unreadable", err, "reading what should be stored in %s", bucket)
		}
	}
	pause := conflictPause
	for attempt := 1; ; attempt++ {
		source := &sourceReader{r: r, left: size}
		body := io.Reader(source)
		if _, ok := r.(io.ReaderAt); ok && canRewind {
			body = r // minio-go repeats a request only if it can read its body again
		}
		_, err := s.client.PutObject(ctx, bucket, key, body, size, put)
		if err == nil {
			return nil
		}
		if source.err != nil {
			return fault.Wrap(fault.Internal, "object-unreadable", source.err, "reading what should be stored in %s", bucket)
		}
		if !isPassingConflict(err) || attempt == conflictAttempts || !canRewind {
			return s.fail(ctx, err, "writing to", bucket, key)
		}
		// AWS answers 409 while another conditional writer of the same key is under way: ask again until one has won.
		// Stores on file systems answer 409 when a removal has just taken the emptied folder away: ask again, too.
		if err := pauseFor(ctx, pause); err != nil {
			return err
		}
		pause *= 2
		if _, err := seeker.Seek(start, io.SeekStart); err != nil {
			return fault.Wrap(fault.Internal, "object-unreadable", err, "reading again what should be stored in %s", bucket)
		}
	}
}

// PutBytes stores data under key, as Put.
func (s *Store) PutBytes(ctx context.Context, bucket, key string, data []byte, opts PutOptions) error {
	return s.Put(ctx, bucket, key, bytes.NewReader(data), int64(len(data)), opts)
}

// sourceReader remembers what went wrong in the source, which would otherwise pass for a fault of the store.
type sourceReader struct {
	r    io.Reader
	left int64
	err  error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left -= int64(n)
	switch {
	case err == io.EOF && s.left > 0:
		s.err = io.ErrUnexpectedEOF
		return n, s.err
	case err != nil && err != io.EOF:
		s.err = err
	}
	return n, err
}

// Get opens an object. The caller closes the reader; its read errors carry kinds, too.
func (s *Store) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Info, error) {
	body, stat, _, err := minio.Core{Client: s.client}.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, Info{}, s.fail(ctx, err, "reading from", bucket, key)
	}
	info := infoOf(stat)
	info.Key = key
	return &objectReader{ctx: ctx, body: body, bucket: bucket}, info, nil
}

// GetBytes reads a whole object of at most limit bytes; a larger one is a fault of kind Invalid, "object-too-large".
func (s *Store) GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error) {
	body, info, err := s.Get(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // nothing was written; what was read has been checked
	if info.Size > limit {
		return nil, fault.New(fault.Invalid, "object-too-large", "an object in %s has %d bytes; at most %d are read", bucket, info.Size, limit)
	}
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(body, data); err != nil {
		if fault.CodeOf(err) != "" { // the reader has said what it was
			return nil, err
		}
		return nil, fault.Wrap(fault.Transient, "storage-unavailable", err, "reading from %s ended early", bucket)
	}
	return data, nil
}

// objectReader gives a body's errors their kind. A body that ends early is net/http's io.ErrUnexpectedEOF.
type objectReader struct {
	ctx    context.Context
	body   io.ReadCloser
	bucket string
}

func (o *objectReader) Read(p []byte) (int, error) {
	n, err := o.body.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if cause := o.ctx.Err(); cause != nil {
		return n, cause
	}
	return n, fault.Wrap(fault.Transient, "storage-unavailable", err, "reading from %s was cut off", o.bucket)
}

func (o *objectReader) Close() error { return o.body.Close() }

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, bucket, key string) (Info, error) {
	stat, err := s.client.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Info{}, s.fail(ctx, err, "looking into", bucket, key)
	}
	info := infoOf(stat)
	info.Key = key
	return info, nil
}

// Remove removes an object; one that is not there is no error.
func (s *Store) Remove(ctx context.Context, bucket, key string) error {
	err := s.client.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{})
	if err == nil || minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil
	}
	return s.fail(ctx, err, "removing from", bucket, key)
}

// List yields the objects whose keys begin with prefix, in key order (UTF-8 bytes), page by page. Folder markers (empty
// objects whose key ends in a slash) are left out. After an error it ends.
func (s *Store) List(ctx context.Context, bucket, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		owner := false
		for object := range s.client.ListObjectsIter(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, FetchOwner: &owner}) {
			if object.Err != nil {
				yield(Info{}, s.fail(ctx, object.Err, "listing", bucket, ""))
				return
			}
			if strings.HasSuffix(object.Key, "/") && object.Size == 0 {
				continue
			}
			if !yield(infoOf(object), nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Info{}, err) // a cancelled listing must not pass for a short one
		}
	}
}

// PresignPut makes a URL by which whoever has it may put one object of that key until expiry is over.
func (s *Store) PresignPut(ctx context.Context, bucket, key string, expiry time.Duration) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	u, err := s.client.PresignedPutObject(ctx, bucket, key, expiry)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "presign-refused", err, "making an upload address for %s (1 second to 7 days)", bucket)
	}
	return u.String(), nil
}

func infoOf(o minio.ObjectInfo) Info {
	return Info{Key: o.Key, ETag: strings.Trim(o.ETag, `"`), Size: o.Size, LastModified: o.LastModified.UTC().Truncate(time.Second)}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
