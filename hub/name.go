// Package hub downloads models from a model hub that speaks the Hugging Face protocol, into the cache that the Python libraries use too.
package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Name is a model on the hub: ORG/NAME, or NAME alone for some old ones, at a branch, tag or commit.
type Name struct {
	Repo     string
	Revision string // "main" when none was given
}

// Names become parts of paths and addresses, so what they may hold is said here and nothing else is let through.
var (
	repoPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	// a sha1 or a sha256: it is the name of the blob's file
	etagPattern = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
)

// ParseName reads ORG/NAME[@REVISION].
func ParseName(s string) (Name, error) {
	repo, revision, at := strings.Cut(s, "@")
	if !at {
		revision = "main"
	}
	// -- stands for the slash in the cache, so a name that has it could take another model's folder
	if !repoPattern.MatchString(repo) || len(repo) > 200 || strings.Contains(repo, "--") || strings.Contains(repo, "..") {
		return Name{}, fmt.Errorf("%q is not the name of a model; write ORG/NAME or ORG/NAME@REVISION", s)
	}
	if !revisionPattern.MatchString(revision) || len(revision) > 200 || strings.Contains(revision, "..") {
		return Name{}, fmt.Errorf("%q is not a revision; give a branch, a tag or a commit", revision)
	}
	return Name{repo, revision}, nil
}

// String returns ORG/NAME@REVISION.
func (n Name) String() string { return n.Repo + "@" + n.Revision }

// folder is where a cache keeps the model: blobs/ has contents by checksum, snapshots/COMMIT/ links to them by file name, refs/ the commits of
// branches and tags (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
func (n Name) folder(cache string) string {
	return filepath.Join(cache, "models--"+strings.ReplaceAll(n.Repo, "/", "--"))
}

// Find returns the folder of a model that is in the cache already; ok is false when it is not.
func Find(cache string, n Name) (dir string, ok bool) {
	commit := n.Revision
	if ref, err := os.ReadFile(filepath.Join(n.folder(cache), "refs", filepath.FromSlash(n.Revision))); err == nil {
		commit = strings.TrimSpace(string(ref))
	}
	// also where a file says so: a reference that leads out of the cache is none
	if !commitPattern.MatchString(commit) {
		return "", false
	}
	dir = filepath.Join(n.folder(cache), "snapshots", commit)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", false
	}
	return dir, true
}

// checkFile refuses file names that would leave the snapshot's folder or that some system reads otherwise.
func checkFile(name string) error {
	bad := len(name) > 500 || !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\:\x00") || strings.Contains(name, "//") ||
		strings.HasSuffix(name, "/")
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || part == "." || part == ".."
	}
	if bad {
		return fmt.Errorf("the hub lists a file named %q, which does not stay in its folder; nothing was downloaded", name)
	}
	return nil
}
