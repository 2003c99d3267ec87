package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Client talks to one hub. Its fields are not changed while it is in use; its methods may be called from several goroutines.
type Client struct {
	Endpoint string // such as https://huggingface.co
	Token    string // "" for none; sent to the endpoint only
	Cache    string // folder of the models, such as ~/.cache/huggingface/hub
	Agent    string // of the User-Agent header

	// Retrying is told why a request failed and how long the pause before it is tried again is, perhaps on several goroutines at once; nil: nobody is.
	Retrying func(err error, pause time.Duration)

	// Transport and Sleep are for tests; nil is the usual.
	Transport http.RoundTripper
	Sleep     func(context.Context, time.Duration) error

	once  sync.Once
	usual http.RoundTripper // one for all requests, so that a connection serves one after the other
}

// Bounds of what a hub, a mirror or somebody between may ask of this program.
const (
	attempts    = 6                // of a request that fails in a way that may pass
	patience    = 60 * time.Second // without a byte
	maxWait     = 2 * time.Minute  // between attempts
	maxInfo     = 64 << 20         // bytes of a model's description
	maxFiles    = 100000
	filesAtOnce = 4
)

// file is one file of a model.
type file struct {
	name string
	size int64
	etag string // sha256 of a large file, else the git object id, which is a sha1
}

// info is what the hub says of a model.
type info struct {
	commit string
	files  []file
}

// statusError is an answer that is no success.
type statusError struct {
	code    int
	reason  string // the hub's own word, such as GatedRepo
	message string
	wait    time.Duration // that the server asked for
}

func (e *statusError) Error() string {
	if e.code == 0 { // an answer that was not read to its end
		return e.message
	}
	s := fmt.Sprintf("the hub answers %d %s", e.code, http.StatusText(e.code))
	if e.message != "" {
		s += ": " + e.message
	}
	return s
}

// info asks for a model's commit and files. All that follows is of that commit, so that a branch which moves meanwhile gives no mixture.
// The API is described at https://huggingface.co/docs/hub/api; blobs=true adds sizes and checksums.
func (c *Client) info(ctx context.Context, n Name) (info, error) {
	var doc struct {
		SHA      string
		Siblings []struct {
			Rfilename string
			Size      *int64
			BlobID    string
			LFS       *struct {
				SHA256 string
				Size   *int64
			}
		}
	}
	err := c.retry(ctx, func() (bool, error) {
		// escaped: the slashes of a branch such as refs/pr/1 are part of its name
		resp, err := c.get(ctx, c.Endpoint+"/api/models/"+n.Repo+"/revision/"+url.PathEscape(n.Revision)+"?blobs=true", 0)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxInfo+1))
		if err != nil {
			return false, err
		}
		if len(data) > maxInfo {
			return false, &statusError{message: "the hub's description of the model is too long"}
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			return false, &statusError{code: resp.StatusCode, message: "its description of the model is not JSON; check the endpoint " + c.Endpoint}
		}
		return false, nil
	})
	if err != nil {
		return info{}, c.explain(err, n)
	}
	if !commitPattern.MatchString(doc.SHA) {
		return info{}, fmt.Errorf("the hub names no commit for %s; check the endpoint %s", n, c.Endpoint)
	}
	if len(doc.Siblings) > maxFiles {
		return info{}, fmt.Errorf("the hub lists %d files for %s, more than %d", len(doc.Siblings), n, maxFiles)
	}
	out := info{commit: doc.SHA}
	for _, s := range doc.Siblings {
		f := file{name: s.Rfilename, size: -1, etag: s.BlobID}
		if s.Size != nil {
			f.size = *s.Size
		}
		if s.LFS != nil { // a large file: what git holds of it, and BlobID is of, is a pointer
			f.etag = s.LFS.SHA256
			if s.LFS.Size != nil {
				f.size = *s.LFS.Size
			}
		}
		if err := checkFile(f.name); err != nil {
			return info{}, err
		}
		out.files = append(out.files, f)
	}
	return out, nil
}

// explain says what to do about a failure. The hub answers 401 for a private model and for one that does not exist alike, so that nobody can
// try out which names exist; X-Error-Code tells more where it is given.
func (c *Client) explain(err error, n Name) error {
	var s *statusError
	if !errors.As(err, &s) {
		return fmt.Errorf("pull %s: %w", n, err)
	}
	token := "set HF_TOKEN to a token of an account that may read it"
	if c.Token != "" {
		token = "the token in HF_TOKEN is not valid or may not read it"
	}
	switch {
	case s.reason == "GatedRepo" || s.code == http.StatusForbidden:
		return fmt.Errorf("pull %s: access is restricted; accept the conditions at %s/%s, and %s", n, c.Endpoint, n.Repo, token)
	case s.reason == "RevisionNotFound":
		return fmt.Errorf("pull %s: the model has no revision %s; name one that it has, as in %s@main", n, n.Revision, n.Repo)
	case s.code == http.StatusUnauthorized:
		return fmt.Errorf("pull %s: the model does not exist or is private; check the name, or %s", n, token)
	case s.reason == "EntryNotFound": // a file, which err names: the list of the revision and the revision differ
		return fmt.Errorf("pull %s: %w; the hub lists the file and does not have it", n, err)
	case s.code == http.StatusNotFound:
		return fmt.Errorf("pull %s: not found; check the name and the revision", n)
	case s.code == http.StatusTooManyRequests:
		return fmt.Errorf("pull %s: the hub wants fewer requests; try again later, or set HF_TOKEN for a higher limit", n)
	}
	return fmt.Errorf("pull %s: %w", n, err)
}

// fileURL is where a file is downloaded from.
func (c *Client) fileURL(n Name, commit, name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return c.Endpoint + "/" + n.Repo + "/resolve/" + commit + "/" + strings.Join(parts, "/")
}

// get requests a URL from byte from on, wherever it is redirected to. Whoever reads the answer waits for its next byte as long as for the first.
func (c *Client) get(ctx context.Context, target string, from int64) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := c.do(ctx, c.client(), http.MethodGet, target, from)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &impatient{resp.Body, ctx, cancel}
	return resp, nil
}

// errSilence is the end of an answer of which nothing comes any more.
var errSilence = fmt.Errorf("the server sent nothing for %.0f seconds", patience.Seconds())

// impatient is the body of an answer, whose Read fails after a while without a byte.
type impatient struct {
	io.ReadCloser
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
}

func (b *impatient) Read(p []byte) (int, error) {
	silence := time.AfterFunc(patience, func() { b.cancel(errSilence) })
	defer silence.Stop()
	n, err := b.ReadCloser.Read(p)
	if err != nil && context.Cause(b.ctx) == errSilence {
		err = errSilence // and not that the context was cancelled, which sounds like the user's doing
	}
	return n, err
}

func (b *impatient) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

func (c *Client) client() *http.Client {
	c.once.Do(func() {
		// no bound on the whole request, which may take hours: only on silence, here before the answer and in impatient within it
		d := http.DefaultTransport.(*http.Transport).Clone()
		d.ResponseHeaderTimeout, d.MaxIdleConnsPerHost = patience, filesAtOnce
		c.usual = d
	})
	t := c.Transport
	if t == nil {
		t = c.usual
	}
	return &http.Client{Transport: t, CheckRedirect: follow}
}

// follow keeps the token at the endpoint: the standard client would send it along to other ports of the same host, and unencrypted.
func follow(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return fmt.Errorf("it redirects more than ten times%w", errFinal)
	}
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

func (c *Client) do(ctx context.Context, client *http.Client, method, target string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.Agent)
	req.Header.Set("Accept-Encoding", "identity") // sizes, ranges and checksums are of the plain file
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &statusError{code: resp.StatusCode, reason: resp.Header.Get("X-Error-Code"), message: firstLine(resp.Header.Get("X-Error-Message"))}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.wait = min(time.Duration(min(s, 3600))*time.Second, maxWait)
	}
	return nil, e
}

// plain drops the address of a request that failed, but for its host: stores are sent to with a signature in it, which opens a private file to whoever
// reads it in a log.
func plain(err error) error {
	failed, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	host := "the hub"
	if u, err := url.Parse(failed.URL); err == nil {
		host = u.Host
	}
	return fmt.Errorf("%s: %w", host, failed.Err)
}

// firstLine bounds what a server's words take in an error.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 200)]
}

// head asks for size and checksum of a file that the description lacks. The answer of the endpoint counts, not that of the store
// that it redirects to.
func (c *Client) head(ctx context.Context, target string) (etag string, size int64, err error) {
	client := c.client()
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Host != via[0].URL.Host {
			return http.ErrUseLastResponse
		}
		return follow(req, via)
	}
	err = c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, client, http.MethodHead, target, 0)
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		etag, size = resp.Header.Get("X-Linked-Etag"), resp.ContentLength
		if etag == "" {
			etag = resp.Header.Get("ETag")
		}
		if n, err := strconv.ParseInt(resp.Header.Get("X-Linked-Size"), 10, 64); err == nil {
			size = n
		} else if resp.StatusCode >= 300 { // the length is that of the redirection's own page
			size = -1
		}
		return false, nil
	})
	// a weak etag, as proxies that recompress make of a strong one, still holds the checksum
	return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`), size, err
}

// retry calls f again while it fails in a way that may pass, waiting longer each time. f reports whether it got any further; then
// the attempts count from the start.
func (c *Client) retry(ctx context.Context, f func() (progress bool, err error)) error {
	wait := time.Second
	for tried := 1; ; tried++ {
		progress, err := f()
		if err == nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if progress {
			tried, wait = 1, time.Second
		}
		// 429 and 5xx pass; any other status is an answer. Errors without a status are the network's, and pass, too
		var s *statusError
		if errors.As(err, &s) && s.code != http.StatusTooManyRequests && s.code < 500 || errors.Is(err, errFinal) || tried >= attempts {
			return err
		}
		pause := wait
		if s != nil && s.wait > 0 {
			pause = s.wait
		}
		if c.Retrying != nil {
			c.Retrying(err, pause)
		}
		if err := c.sleep(ctx, pause); err != nil {
			return err
		}
		wait = min(2*wait, maxWait)
	}
}

// errFinal marks failures that another attempt does not mend. It says nothing itself, so that it can be wrapped at the end of a sentence.
var errFinal = errors.New("")

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
