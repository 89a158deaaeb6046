package app

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// submitCommand uploads files straight into the S3 inbox, with addresses that the running Noctua signs.
type submitCommand struct {
	clientFlags `embed:""`
	Clinic      string   `help:"Clinic that the files come from: letters, digits, - and _." required:"" env:"NOCTUA_CLINIC"`
	Manifest    bool     `help:"Announce the pictures of each study by a manifest, so that its report is final as soon as all have an outcome."`
	Parallel    int      `help:"Uploads at a time." default:"4"`
	Paths       []string `arg:"" help:"Files and folders." name:"path"`
}

// upload is one file on its way.
type upload struct {
	path string // on this machine
	name string // below the clinic and batch in the inbox
	size int64
}

// Run uploads the files and says how to follow them.
func (c *submitCommand) Run(inv *invocation) error {
	if !event.ValidClinic(c.Clinic) {
		return usageError{fmt.Errorf("the clinic %q should be 1 to 64 letters, digits, - and _, starting with a letter or digit", c.Clinic)}
	}
	if c.Parallel < 1 || c.Parallel > 64 {
		return usageError{fmt.Errorf("--parallel should be 1 to 64, not %d", c.Parallel)}
	}
	files, err := collect(c.Paths)
	if err != nil {
		return err
	}
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	started := time.Now()
	if c.Manifest {
		dir, err := os.MkdirTemp("", "noctua-manifests-")
		if err != nil {
			return fmt.Errorf("making a folder for manifests: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // holds no patient data
		a, err := announce(inv.ctx, dir, files)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(inv.out, "%d picture(s) of %d study(ies) are announced; %d other file(s) are not.\n", a.instances, len(a.manifests), a.left); err != nil {
			return err
		}
		files = append(a.manifests, files...)
	}
	total, err := noctua.upload(inv.ctx, inv.err, c.Clinic, c.Parallel, files)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(inv.out, "%d file(s), %.1f MB, uploaded to clinic %s in %.1f s. Follow them with: noctua status --wait\n",
		len(files), float64(total)/1e6, c.Clinic, time.Since(started).Seconds())
	return err
}

// collect lists the files to upload. Hidden files in folders are left out.
func collect(paths []string) ([]upload, error) {
	var files []upload
	for _, root := range paths {
		info, err := os.Stat(root)
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, "file-missing", err, "%s cannot be read", root)
		}
		if !info.IsDir() {
			files = append(files, upload{path: root, name: filepath.Base(root), size: info.Size()})
			continue
		}
		base := filepath.Base(filepath.Clean(root))
		err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if strings.HasPrefix(entry.Name(), ".") && path != root {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			info, err := os.Stat(path) // follows links, as a person would expect
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() {
				return nil
			}
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			files = append(files, upload{path: path, name: filepath.ToSlash(filepath.Join(base, relative)), size: info.Size()})
			return nil
		})
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, "file-missing", err, "the folder %s cannot be read", root)
		}
	}
	if len(files) == 0 {
		return nil, fault.New(fault.NotFound, "nothing-to-submit", "there is no file in %s", strings.Join(paths, ", "))
	}
	return files, nil
}

// uploadAddresses is the answer to a request for signed addresses.
type uploadAddresses struct {
	Uploads []struct {
		Name string `json:"name"`
		URL  string `json:"url"`
	} `json:"uploads"`
}

// upload puts the files into the inbox and returns their bytes. Progress, with rate and time left, goes to w.
func (c *client) upload(ctx context.Context, w io.Writer, clinic string, parallel int, files []upload) (int64, error) {
	var total int64
	for _, f := range files {
		total += f.size
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetDescription("uploading"), progressbar.OptionThrottle(200*time.Millisecond),
		progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(w) }), progressbar.OptionSetWidth(barWidth))
	for start := 0; start < len(files); start += uploadURLsPerAsk {
		part := files[start:min(start+uploadURLsPerAsk, len(files))]
		names := make([]string, len(part))
		for i, f := range part {
			names[i] = f.name
		}
		var addresses uploadAddresses
		if err := c.call(ctx, http.MethodPost, "/api/uploads", map[string]any{"clinic": clinic, "names": names}, &addresses); err != nil {
			return 0, err
		}
		if len(addresses.Uploads) != len(part) {
			return 0, fault.New(fault.Internal, "answer-unreadable", "%s signed %d addresses for %d files", c.base, len(addresses.Uploads), len(part))
		}
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(parallel)
		for i, f := range part {
			group.Go(func() error { return c.put(groupCtx, f, addresses.Uploads[i].URL, bar) })
		}
		if err := group.Wait(); err != nil {
			return 0, err
		}
	}
	return total, bar.Finish()
}

// put sends one file; a broken connection is tried again, since the address stays valid.
func (c *client) put(ctx context.Context, f upload, address string, bar *progressbar.ProgressBar) error {
	const attempts = 3
	var err error
	for range attempts {
		var sent int64
		sent, err = c.putOnce(ctx, f, address, bar)
		if err == nil || !fault.Is(err, fault.Transient) || ctx.Err() != nil {
			return err
		}
		_ = bar.Add64(-sent) // only a picture
	}
	return err
}

func (c *client) putOnce(ctx context.Context, f upload, address string, bar *progressbar.ProgressBar) (int64, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return 0, fault.Wrap(fault.NotFound, "file-missing", err, "%s cannot be read", f.path)
	}
	defer func() { _ = file.Close() }()
	counted := &countingReader{from: file, bar: bar}
	var body io.Reader = counted
	if f.size == 0 {
		body = http.NoBody
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, address, body)
	if err != nil {
		return 0, fmt.Errorf("the upload address of %s is wrong: %w", f.path, err)
	}
	request.ContentLength = f.size
	answer, err := c.http.Do(request)
	if err != nil {
		return counted.sent, fault.Wrap(fault.Transient, "upload-failed", err, "uploading %s failed; what was uploaded stays, submit again and the rest is noted as duplicate", f.path)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(io.LimitReader(answer.Body, maxErrorExcerpt)) // for the message alone
		kind := fault.Invalid
		if answer.StatusCode >= http.StatusInternalServerError {
			kind = fault.Transient
		}
		return counted.sent, fault.New(kind, "upload-failed", "the inbox refused %s: %s %s", f.path, answer.Status, excerpt(raw))
	}
	return counted.sent, nil
}

// countingReader moves the progress bar as its bytes are read.
type countingReader struct {
	from io.Reader
	bar  *progressbar.ProgressBar
	sent int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.sent += int64(n)
	_ = r.bar.Add(n) // only a picture
	return n, err
}
