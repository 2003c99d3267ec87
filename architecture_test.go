package hone

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// top is the layer of the program.
const top = 13

// layers says how high a package stands; a package imports only lower ones. Longer paths win.
var layers = map[string]int{
	"cmd/hone": top, "cmd/hone/bench": 12, "cmd/hone/quickstart": 11, "cmd/hone/inference": 11, "cmd/hone/modelfiles": 11,
	"cmd/hone/training": 10, "cmd/hone/corpus": 10, "cmd/hone/loaded": 10, "cmd/hone/machine": 9, "cmd/hone/cli": 8, "cmd/hone/clitest": 8,
	"recipe/rl": 7, "recipe/cluster": 7,
	"recipe/lm": 6, "recipe/preference": 6, "recipe/curation": 6, "recipe/recipetest": 6,
	"recipe": 5, "recipe/judge": 5, "serve/": 5, "plan/meter": 5,
	"report": 4, "plan": 4, "model": 4, "train": 4, "eval": 4,
	"model/": 3, "generate": 3, "adapter": 3, "data/curate": 3, "data/curate/filters": 3, "data/curate/classifier": 3, "device/cpu": 3,
	"nn": 2, "data/curate/document": 2, "data/curate/curatetest": 2, "recipe/example": 2, "loss": 2, "optim": 2, "device/devicetest": 2,
	"device/cpu/attention": 2,
	"device/cpu/vec":       1, "device/cpu/peak": 1, "device/cuda": 1, "tensor": 1, "data": 1, "data/curate/dedup": 1, "data/curate/spans": 1, "chat": 1, "convert": 1,
	"device": 0, "device/cpu/": 0, "device/cuda/": 0, "hub": 0, "tokenizer": 0, "safetensors": 0, "gguf": 0,
	"data/curate/words": 0, "data/curate/extsort": 0,
	"reward": 0, "recipe/config": 0,
	"internal/": -1,
}

// bans are imports that the layers would allow, each with the reason against it.
var bans = []struct{ from, to, reason string }{
	{"tensor", "device/", "a device is passed in, so that another can be"},
	{"nn", "device/", "a device is passed in"},
	{"model", "device/", "a device is passed in"},
	{"model/", "device/", "a device is passed in"},
	{"train", "device/", "a device is passed in"},
	{"recipe", "device/", "only cmd/hone picks a device"},
	{"recipe/lm", "device/", "only cmd/hone picks a device"},
	{"recipe/preference", "device/", "only cmd/hone picks a device"},
	{"recipe/rl", "device/", "only cmd/hone picks a device"},
	{"recipe/judge", "device/", "only cmd/hone picks a device"},
	{"recipe/curation", "device/", "only cmd/hone picks a device"},
	{"recipe/cluster", "device/", "only cmd/hone picks a device"},
	{"device/", "tensor", "kernels know buffers and sizes only"},
	{"data", "tensor", "batches are host numbers; recipe moves them to the device"},
	{"data/", "tensor", "texts are no tensors"},
	{"loss", "optim", "a loss takes tensors and counts"},
	{"loss", "data", "a loss takes tensors and counts"},
	{"model/", "optim", "models run forward only"},
	{"model/", "data", "models run forward only"},
	{"train", "model", "the loop is given an objective and knows no model"},
	{"train", "loss", "the loop is given an objective and knows no loss"},
	{"train", "nn", "the loop is given an objective and knows no model"},
	{"report", "train", "the report reads a run's files and works on any run folder"},
}

// bannedStd are standard packages that only cmd/hone may use: nothing below it reads flags or logs by itself.
var bannedStd = []string{"flag", "log"}

// outside are the packages that may exit and read the environment, the command line and the standard streams, each for what stands beside it.
var outside = map[string]string{
	"cmd/hone":           "the program itself",
	"cmd/hone/machine":   "where its libraries and the models of its cache are",
	"cmd/hone/inference": "what its terminal is, and that it is left as it was where the program is told to end",
	"cmd/hone/cli":       "whether a terminal takes colours and rewritten lines",
}

type goPackage struct {
	path    string // relative to the module, "" for the root
	imports []string
	hasDoc  bool
	exits   []string // positions of os.Exit, os.Args, os.Getenv and the standard streams
}

func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		level, ok := layer(p.path)
		if !ok {
			t.Errorf("package %s is on no layer; give it one in layers and in ARCHITECTURE.md", p.path)
			continue
		}
		for _, imp := range p.imports {
			if slices.Contains(bannedStd, imp) && level < top {
				t.Errorf("%s imports %s: only cmd/hone does", p.path, imp)
			}
			to, ours := strings.CutPrefix(imp, "hone/")
			if !ours {
				continue
			}
			if other, _ := layer(to); other >= level && !within(p.path, "internal/") {
				t.Errorf("%s (layer %d) imports %s (layer %d); a package imports only lower ones", p.path, level, to, other)
			}
			for _, b := range bans {
				if within(p.path, b.from) && within(to, b.to) {
					t.Errorf("%s imports %s: %s", p.path, to, b.reason)
				}
			}
		}
		if _, may := outside[p.path]; !may {
			for _, at := range p.exits {
				t.Errorf("%s: only the packages of outside exit and use the environment, the command line and the standard streams", at)
			}
		}
	}
}

// within reports whether path is what, or below it when what ends in a slash.
func within(path, what string) bool {
	return path == what || strings.HasSuffix(what, "/") && strings.HasPrefix(path, what)
}

func layer(path string) (level int, ok bool) {
	best := -1
	for p, l := range layers {
		if within(path, p) && len(p) > best {
			best, level, ok = len(p), l, true
		}
	}
	return level, ok
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range packages(t) {
		if !p.hasDoc {
			t.Errorf("package %s has no package comment", p.path)
		}
	}
}

// TestTree compares the tree in ARCHITECTURE.md with the packages that exist.
func TestTree(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tree, ok := strings.Cut(string(text), "```tree\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no ```tree block")
	}
	tree, _, _ = strings.Cut(tree, "```")
	listed := map[string]bool{}
	for line := range strings.Lines(tree) {
		if f := strings.Fields(line); len(f) > 0 {
			listed[strings.TrimSuffix(f[0], "/")] = true
		}
	}
	for _, p := range packages(t) {
		if !listed[p.path] {
			t.Errorf("ARCHITECTURE.md's tree lacks %s/", p.path)
		}
	}
	for path := range listed {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("ARCHITECTURE.md's tree names %s, which does not exist", path)
		}
	}
}

// TestSizes holds files below 800 lines, functions below 100 and packages to 25 files beside their tests.
func TestSizes(t *testing.T) {
	files := map[string]int{} // of packages, without their tests
	eachFile(t, func(path string, fset *token.FileSet, f *ast.File) {
		if lines := fset.File(f.Pos()).LineCount(); lines > 800 && !ast.IsGenerated(f) {
			t.Errorf("%s has %d lines; split it below 800", path, lines)
		}
		if !strings.HasSuffix(path, "_test.go") {
			files[filepath.Dir(path)]++
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && !strings.HasSuffix(path, "_test.go") && !ast.IsGenerated(f) {
				if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > 100 {
					t.Errorf("%s: %s has %d lines; split it below 100", path, fn.Name.Name, n)
				}
			}
		}
	})
	for dir, n := range files {
		if n > 25 {
			t.Errorf("package %s has %d files beside its tests; cut it into packages of at most 25", dir, n)
		}
	}
}

// packages are the module's packages, without their tests.
func packages(t *testing.T) []*goPackage {
	byPath := map[string]*goPackage{}
	eachFile(t, func(path string, fset *token.FileSet, f *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		p := byPath[dir]
		if p == nil {
			p = &goPackage{path: dir}
			byPath[dir] = p
		}
		p.hasDoc = p.hasDoc || f.Doc != nil
		for _, i := range f.Imports {
			p.imports = append(p.imports, strings.Trim(i.Path.Value, `"`))
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains([]string{"Exit", "Args", "Getenv", "Stdout", "Stderr", "Stdin"}, s.Sel.Name) {
				p.exits = append(p.exits, fset.Position(s.Pos()).String())
			}
			return true
		})
	})
	var list []*goPackage
	for _, p := range byPath {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *goPackage) int { return strings.Compare(a.path, b.path) })
	return list
}

func eachFile(t *testing.T, visit func(path string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != "." && (strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || path == "architecture_test.go" {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		visit(path, fset, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
