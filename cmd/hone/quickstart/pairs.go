package quickstart

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/internal/atomicfile"
)

// pair is an instruction and its answer.
type pair struct{ instruction, answer string }

// maxPair is the length of instruction and answer together, in bytes, that a context of 256 tokens has room for.
const maxPair = 550

// writePairs makes examples of conversations from Go's functions: the comment and the signature are the instruction, the
// function is the answer. The order depends on the folders' names alone.
func writePairs(path string, globs []string) (n int, err error) {
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	for _, glob := range globs {
		root := filepath.Dir(filepath.Dir(glob)) // folder/**/*.go
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor"):
				return filepath.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, p := range pairsOf(source) {
				if err := lines.Encode(map[string]any{"messages": []map[string]string{
					{"role": "user", "content": p.instruction}, {"role": "assistant", "content": p.answer}}}); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if n == 0 {
		return 0, errors.New("there is no documented function in the source")
	}
	return n, atomicfile.WriteFile(path, out.Bytes())
}

// pairsOf are those of a Go file; one that does not parse has none.
func pairsOf(source []byte) []pair {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	var pairs []pair
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		// declared elsewhere, as in assembly, a function has no body to learn
		if !ok || f.Doc == nil || f.Body == nil || len(f.Body.List) == 0 || skipped(f.Doc) {
			continue
		}
		text := func(from, to token.Pos) string {
			return string(source[files.Position(from).Offset:files.Position(to).Offset])
		}
		p := pair{strings.TrimSpace(f.Doc.Text()) + "\n" + strings.TrimSpace(text(f.Pos(), f.Body.Pos())), text(f.Pos(), f.End())}
		if len(p.instruction)+len(p.answer) <= maxPair {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// skipped tells comments that are for tools or say that nobody should call the function.
func skipped(doc *ast.CommentGroup) bool {
	return strings.Contains(doc.Text(), "Deprecated:") || slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:") })
}
