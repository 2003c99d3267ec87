package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"hone/internal/atomicfile"
	"hone/internal/filelock"
)

// Progress is how far a download is.
type Progress struct {
	Files, Bytes       int64 // to download in all, what the cache has included
	FilesDone, BytesIn int64
	Cached             int64 // bytes that were in the cache before
}

// Pull downloads the files of a model that match a pattern, or those that hone needs, and returns their folder. What the cache has is
// not downloaded again, and what was cut off goes on where it stopped. Every file is compared with the checksum that the hub gives.
// progress, if not nil, is called now and then, from several goroutines, one at a time.
func (c *Client) Pull(ctx context.Context, n Name, include []string, progress func(Progress)) (dir string, err error) {
	i, err := c.info(ctx, n)
	if err != nil {
		return "", err
	}
	files, err := choose(i.files, include)
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", n, err)
	}
	p := &pull{Client: c, name: n, commit: i.commit, root: n.folder(c.Cache), report: progress}
	p.snapshot = filepath.Join(p.root, "snapshots", i.commit)
	for _, d := range []string{"blobs", "refs"} {
		if err := os.MkdirAll(filepath.Join(p.root, d), 0o755); err != nil {
			return "", fmt.Errorf("pull %s: %w", n, err)
		}
	}
	if err := p.all(ctx, files); err != nil {
		return "", err
	}
	// last: Find goes by the reference, and for a commit by the snapshot's folder, so a model is found only when all of it is there
	for _, f := range files {
		if err := p.link(f); err != nil {
			return "", err
		}
	}
	if n.Revision != i.commit {
		if err := p.writeRef(); err != nil {
			return "", fmt.Errorf("pull %s: %w", n, err)
		}
	}
	return p.snapshot, nil
}

// pull is one call of Pull.
type pull struct {
	*Client
	name           Name
	commit         string
	root, snapshot string
	report         func(Progress)

	bytes, in, done, cached atomic.Int64
	files                   int64      // set before the first goroutine starts
	mu                      sync.Mutex // of report
	blobs                   sync.Map   // etag to the *sync.Mutex of whoever fills that blob: files of equal content share one
}

func (p *pull) writeRef() error {
	path := filepath.Join(p.root, "refs", filepath.FromSlash(p.name.Revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(p.commit))
}

// tell reports the state.
func (p *pull) tell() {
	if p.report == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report(Progress{Files: p.files, Bytes: p.bytes.Load(), FilesDone: p.done.Load(), BytesIn: p.in.Load(), Cached: p.cached.Load()})
}

// all downloads files, some at once, and stops at the first failure. What it learns of them is in files then.
func (p *pull) all(ctx context.Context, files []file) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.files = int64(len(files))
	for _, f := range files {
		p.bytes.Add(max(f.size, 0))
	}
	slices.SortStableFunc(files, func(a, b file) int { // small ones first: a wrong model shows at once
		return int(min(max(a.size-b.size, -1), 1))
	})
	work := make(chan *file)
	var wg sync.WaitGroup
	for range min(filesAtOnce, len(files)) {
		wg.Go(func() {
			for f := range work {
				if err := p.one(ctx, f); err != nil {
					cancel(err)
					continue
				}
				p.done.Add(1)
				p.tell()
			}
		})
	}
	for i := range files {
		select {
		case work <- &files[i]:
		case <-ctx.Done(): // a worker failed, or the caller has had enough
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

// one puts a file into the cache; its name is not in the snapshot yet.
func (p *pull) one(ctx context.Context, f *file) error {
	target := p.fileURL(p.name, p.commit, f.name)
	if !etagPattern.MatchString(f.etag) || f.size < 0 {
		etag, size, err := p.head(ctx, target)
		if err != nil {
			return p.explain(fmt.Errorf("%s: %w", f.name, err), p.name)
		}
		if !etagPattern.MatchString(etag) || size < 0 {
			return fmt.Errorf("pull %s: the hub gives no checksum or size for %s, so it cannot be trusted", p.name, f.name)
		}
		p.bytes.Add(size - max(f.size, 0))
		f.etag, f.size = etag, size
	}
	if err := p.fill(ctx, *f, target, p.blob(*f)); err != nil {
		return p.explain(fmt.Errorf("%s: %w", f.name, err), p.name)
	}
	return nil
}

// blob is where a file's content is.
func (p *pull) blob(f file) string { return filepath.Join(p.root, "blobs", f.etag) }

// fill puts a file's content into the cache, unless it is there. Of files of equal content the first is downloaded, and the others wait for it.
func (p *pull) fill(ctx context.Context, f file, target, blob string) error {
	own, _ := p.blobs.LoadOrStore(f.etag, new(sync.Mutex))
	own.(*sync.Mutex).Lock()
	defer own.(*sync.Mutex).Unlock()
	if there(blob, f.size) {
		p.in.Add(f.size)
		p.cached.Add(f.size)
		return nil
	}
	return p.download(ctx, f, target, blob)
}

// there reports whether a blob is in the cache. One of another size is not what its name says: it is downloaded again.
func there(blob string, size int64) bool {
	info, err := os.Stat(blob)
	return err == nil && info.Size() == size
}

// link names a blob in the snapshot: by a relative symbolic link, as the Python library does, a hard link where there are none, or a copy where
// there are none of those either, as on a memory stick.
func (p *pull) link(f file) error {
	blob, path := p.blob(f), filepath.Join(p.snapshot, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("pull %s: %w", p.name, err)
	}
	// relative, so that the cache may be moved
	up := strings.Repeat("../", strings.Count(f.name, "/")+2)
	target := filepath.FromSlash(up + "blobs/" + f.etag)
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	if old, err := os.Lstat(path); err == nil && old.Mode().IsRegular() && old.Size() == f.size { // its name is that of a commit, so it has no other content
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pull %s: %w", p.name, err)
	}
	symbolic := func() error { return os.Symlink(target, path) }
	if err := firstOf(symbolic, func() error { return os.Link(blob, path) }, func() error { return duplicate(blob, path) }); err != nil {
		return fmt.Errorf("pull %s: %w", p.name, err)
	}
	return nil
}

// firstOf does the first of several things that can be done; the error is the last one's.
func firstOf(ways ...func() error) (err error) {
	for _, way := range ways {
		if err = way(); err == nil {
			return nil
		}
	}
	return err
}

// duplicate copies a file.
func duplicate(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return atomicfile.WriteTo(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// download fills blob through a file beside it that survives a cut.
func (p *pull) download(ctx context.Context, f file, target, blob string) error {
	part := blob + ".incomplete"
	out, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	// Without locks, two downloads of one file at once end in a wrong checksum, and start again.
	if err := filelock.Try(out); errors.Is(err, filelock.ErrHeld) {
		return errors.New("another program is downloading it; wait until it has ended")
	} else if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("lock it: %w", err)
	}
	if there(blob, f.size) { // another program has ended its download between our look and the lock
		_ = os.Remove(part) // where open files cannot be removed it stays, which does no harm
		p.in.Add(f.size)
		return nil
	}
	d, err := resume(out, f)
	if err != nil {
		return err
	}
	p.in.Add(d.have)
	wrong := 0 // finished downloads of another content; after a resumed one the beginning may be to blame, so there is a second try
	err = p.retry(ctx, func() (bool, error) {
		before := d.have
		if err := p.fetch(ctx, target, d); err != nil {
			return d.have > before, err
		}
		if got := hex.EncodeToString(d.sum.Sum(nil)); got != f.etag {
			p.in.Add(-d.have)
			if err := d.restart(); err != nil {
				return false, err
			}
			if wrong++; wrong == 2 {
				return false, fmt.Errorf("its checksum is %s, the hub says %s; the file is damaged on the way or at the hub%w", got, f.etag, errFinal)
			}
			return false, errors.New("checksum")
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	// on the disk before it has its name, as a blob is trusted for its name and size
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, blob); err != nil && !there(blob, f.size) { // the lock ends with Close, so another program may have been faster
		return err
	}
	return nil
}

// partial is a file of which a part is there.
type partial struct {
	out  *os.File
	of   file
	have int64     // bytes
	sum  hash.Hash // of these; the kind that the etag is of
}

// resume hashes what is there of a file.
func resume(out *os.File, f file) (*partial, error) {
	d := &partial{out: out, of: f, sum: newSum(f)}
	var err error
	if d.have, err = io.Copy(d.sum, out); err != nil {
		return nil, err
	}
	if d.have > f.size { // no beginning of this file
		return d, d.restart()
	}
	return d, nil
}

// restart empties the file.
func (d *partial) restart() error {
	_, err := d.out.Seek(0, io.SeekStart)
	d.have, d.sum = 0, newSum(d.of)
	return errors.Join(d.out.Truncate(0), err)
}

// newSum returns the hash that the etag is of: sha256 of the content, or sha1 of a git object, which begins with its kind and size.
func newSum(f file) hash.Hash {
	if len(f.etag) == 64 {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.size)
	return h
}

// fetch appends what is missing of a file. It ends without an error when all bytes are there, whatever they are; the caller compares the checksum.
func (p *pull) fetch(ctx context.Context, target string, d *partial) error {
	if d.have == d.of.size { // also of an empty file; a range that begins at the end is refused by servers
		return nil
	}
	resp, err := p.get(ctx, target, d.have)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	skip := int64(0)
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.have)) {
			return errors.New("the server sends another part of the file than was asked for")
		}
	case resp.StatusCode == http.StatusOK:
		skip = d.have // a server that cannot go on in the middle
	default:
		return &statusError{code: resp.StatusCode}
	}
	buf := make([]byte, 1<<18)
	for {
		n, err := resp.Body.Read(buf)
		data := buf[min(skip, int64(n)):n]
		skip -= int64(n - len(data))
		if d.have+int64(len(data)) > d.of.size {
			return fmt.Errorf("the server sends more than the %d bytes that the hub says%w", d.of.size, errFinal)
		}
		if _, werr := d.out.Write(data); werr != nil {
			if atomicfile.NoSpace(werr) {
				werr = fmt.Errorf("%w; free some space and pull again, which goes on where it stopped", werr)
			}
			return fmt.Errorf("%w%w", werr, errFinal)
		}
		d.sum.Write(data)
		d.have += int64(len(data))
		p.in.Add(int64(len(data)))
		p.tell()
		if d.have == d.of.size {
			return nil
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
}
