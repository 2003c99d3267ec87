package data

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sourceFile is a file to read.
type sourceFile struct {
	path  string
	named bool // given by name rather than found in a folder: what is wrong with it is an error, not a skip
	info  fs.FileInfo
}

// expand turns files, folders and globs into the files behind them, each once: the arguments in the order given, within each
// by path. Hidden entries of folders are counted and left out, and so are files and folders that cannot be read when they may be skipped.
func expand(args []string, stats *Stats, onBad BadRecord) ([]sourceFile, error) {
	w := walker{stats: stats, onBad: onBad, seen: map[string]bool{}}
	for _, arg := range args {
		err := w.argument(arg)
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			return nil, fmt.Errorf("%w%s", err, unreadableRemedy(onBad))
		}
		if err != nil {
			return nil, err
		}
	}
	if len(w.files) == 0 {
		return nil, fmt.Errorf("no files to read in %s; name what holds text, .jsonl or .parquet", strings.Join(args, ", "))
	}
	return w.files, nil
}

type walker struct {
	stats *Stats
	onBad BadRecord       // what happens to files and folders that cannot be read
	seen  map[string]bool // real paths of files and folders that were taken
	files []sourceFile
}

func (w *walker) argument(arg string) error {
	info, err := os.Stat(arg)
	if err == nil {
		return w.unreadable(w.entry(arg, info, true))
	}
	if !errors.Is(err, fs.ErrNotExist) && !noName(arg) {
		return w.unreadable(fmt.Errorf("read data: %w", err))
	}
	if !strings.ContainsAny(arg, "*?[") {
		if strings.Contains(arg, ",") { // of a recipe: on the command line a comma parts
			return fmt.Errorf("read data: there is no file or folder %s; several are a list, as in [a.txt, b.txt]", arg)
		}
		return fmt.Errorf("read data: there is no file or folder %s; name one that is there, or a pattern", arg)
	}
	paths, hidden, err := glob(arg, func(err error) error {
		if w.unreadable(fmt.Errorf("read data: %w", err)) == nil {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read data: pattern %s: %w", arg, err)
	}
	if len(paths) == 0 && len(hidden) > 0 {
		return fmt.Errorf("read data: only hidden files match %s; name their points, as in .*", arg)
	}
	if len(paths) == 0 {
		return fmt.Errorf("read data: no file matches %s; name files that are there, or another pattern", arg)
	}
	w.stats.skip(Hidden, len(hidden))
	return w.found(paths)
}

// noName says whether the path has signs that no name on Windows has, of which Stat says more than that there is none.
func noName(path string) bool { return filepath.Separator == '\\' && strings.ContainsAny(path, "*?") }

// found takes what was found in a folder or by a pattern.
func (w *walker) found(paths []string) error {
	for _, path := range paths {
		info, err := os.Stat(path) // follows links
		if errors.Is(err, fs.ErrNotExist) || isLoop(err) {
			continue // a link to nowhere or to itself
		}
		if err == nil {
			err = w.entry(path, info, false)
		} else {
			err = fmt.Errorf("read data: %w", err)
		}
		if err := w.unreadable(err); err != nil {
			return err
		}
	}
	return nil
}

// entry takes a file, or all files below a folder. Every real file and folder is entered once, so links in a circle end.
func (w *walker) entry(path string, info fs.FileInfo, named bool) error {
	if !info.IsDir() && !info.Mode().IsRegular() {
		if !named {
			return nil // sockets, devices and pipes of a folder hold no text
		}
		return fmt.Errorf("read data: %s is not a regular file; copy what it gives into one", path)
	}
	// By the real path, for a file may be reached by its name, by links and by patterns, and must count once.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("read data: %w", err)
	}
	if real, err = filepath.Abs(real); err != nil {
		return fmt.Errorf("read data: %w", err)
	}
	if w.seen[real] {
		return nil
	}
	w.seen[real] = true
	if info.IsDir() {
		return w.folder(path)
	}
	w.files = append(w.files, sourceFile{path, named, info})
	return nil
}

func (w *walker) folder(dir string) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return fmt.Errorf("read data: %w", err)
	}
	curated, err := isCurated(dir, entries)
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			w.stats.skip(Hidden, 1)
			continue
		}
		// Reports and lists of copies are .json and .jsonl themselves: read as documents they would teach what was left out.
		if curated && !strings.HasPrefix(e.Name(), "part-") {
			continue // counts, reports and state
		}
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return w.found(paths)
}

// unreadable deals with a file or folder that cannot be read.
func (w *walker) unreadable(err error) error {
	var path *fs.PathError
	if w.onBad != SkipBadRecord || !errors.As(err, &path) {
		return err
	}
	w.stats.skip(Unreadable, 1)
	name(&w.stats.Unreadable, err.Error())
	return nil
}

// Files that tell the folder of a curation or a mixture: its documents are in part-*, and all are there once the result is.
const (
	CurationState  = "curation-state.json"
	CurationResult = "curation.json"
	MixtureState   = "mixture-state.json"
	MixtureResult  = "mixture.json"
)

// isCurated reports whether only the parts in a folder are documents. An unfinished one is an error.
func isCurated(dir string, entries []fs.DirEntry) (bool, error) {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	if has(CurationState) && !has(CurationResult) {
		return false, fmt.Errorf("read data: %s holds an unfinished curation; run the same hone data command again to finish it", dir)
	}
	if has(MixtureState) && !has(MixtureResult) {
		return false, fmt.Errorf("read data: %s holds an unfinished mix; run the same hone data mix again to finish it", dir)
	}
	return has(CurationResult) || has(MixtureResult), nil
}

// glob is filepath.Glob with "**" for any number of folders. As in a shell, what begins with a point is matched by nothing but
// a point; such files and folders are listed apart. Results are sorted. Of a folder below "**" that cannot be read, unreadable says whether that is an error.
func glob(pattern string, unreadable func(error) error) (paths, hidden []string, err error) {
	before, after, deep := strings.Cut(filepath.ToSlash(pattern), "**/")
	if !deep {
		return visible(pattern)
	}
	if strings.Contains(after, "**") {
		return nil, nil, errors.New("** may occur once; give several patterns")
	}
	roots := []string{"."}
	if before != "" {
		if roots, hidden, err = visible(filepath.FromSlash(cmp.Or(strings.TrimSuffix(before, "/"), "/"))); err != nil {
			return nil, nil, err
		}
	}
	for _, root := range roots {
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			continue // a file, which has nothing below it
		}
		root = strings.TrimSuffix(root, string(filepath.Separator)) + string(filepath.Separator) // so that a link to a folder is followed
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return unreadable(err)
			}
			if !d.IsDir() {
				return nil
			}
			if path != root && strings.HasPrefix(d.Name(), ".") {
				hidden = append(hidden, filepath.Clean(path))
				return filepath.SkipDir
			}
			matches, more, err := visible(filepath.Join(quoteGlob(path), filepath.FromSlash(after)))
			paths, hidden = append(paths, matches...), append(hidden, more...)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(paths)
	slices.Sort(hidden)
	return slices.Compact(paths), slices.Compact(hidden), nil
}

// visible is filepath.Glob that lists apart the paths in which a sign of the pattern stands for the point of a hidden file or folder.
func visible(pattern string) (paths, hidden []string, err error) {
	all, err := filepath.Glob(pattern)
	wanted := strings.Split(filepath.ToSlash(filepath.Clean(pattern)), "/")
	for _, path := range all {
		parts := strings.Split(filepath.ToSlash(filepath.Clean(path)), "/") // what has no sign comes back as it is written, as ./a
		named := true
		for i := range min(len(parts), len(wanted)) {
			named = named && (!strings.HasPrefix(parts[i], ".") || strings.HasPrefix(strings.TrimPrefix(wanted[i], `\`), "."))
		}
		if named {
			paths = append(paths, path)
		} else {
			hidden = append(hidden, path)
		}
	}
	return paths, hidden, err
}

// quoteGlob makes a path match itself.
func quoteGlob(path string) string {
	if filepath.Separator == '\\' {
		return path // there, the backslash separates and cannot quote
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
