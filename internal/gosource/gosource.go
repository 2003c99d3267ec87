// Package gosource finds the source of Go's standard library, a text of some megabytes that is at hand wherever Go is.
package gosource

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is the folder of Go's own source. It is an error where there is no Go.
func Folder(ctx context.Context) (string, error) {
	src, _, err := find(ctx)
	return src, err
}

// Packages is a glob for each folder of Go's packages. The compiler and the other programs in cmd, a quarter of them
// generated tables, and vendored code are left out.
func Packages(ctx context.Context) ([]string, error) {
	src, folders, err := find(ctx)
	if err != nil {
		return nil, err
	}
	var globs []string
	for _, f := range folders {
		if f.IsDir() && !slices.Contains([]string{"cmd", "vendor", "testdata"}, f.Name()) {
			globs = append(globs, filepath.Join(src, f.Name(), "**", "*.go"))
		}
	}
	return globs, nil
}

// find is the folder of Go's own source, with what is in it.
func find(ctx context.Context) (src string, folders []os.DirEntry, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	src = filepath.Join(strings.TrimSpace(string(root)), "src")
	folders, listErr := os.ReadDir(src)
	if err := errors.Join(err, listErr); err != nil || len(folders) == 0 {
		return "", nil, errors.New("the source of Go's standard library is not at hand (go env GOROOT)")
	}
	return src, folders, nil
}
