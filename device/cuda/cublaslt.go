package cuda

import (
	"fmt"
	"sync"
	"unsafe"

	"hone/device/cuda/toolkit"
	"hone/internal/dl"
)

// cublasLt is NVIDIA's library of matrix products. The numbers of enumerations are those of cublasLt.h and library_types.h.
type cublasLt struct {
	library   *dl.Library
	version   int
	handle    uintptr
	workspace uintptr
	tf32      bool
	call      func(function uintptr, args ...uintptr) int32 // with the card's context current

	descCreate, descSet, layoutCreate, layoutSet uintptr
	preferenceCreate, preferenceSet              uintptr
	preferenceFree, heuristic, check, config     uintptr
	matmul, text                                 uintptr

	mu       sync.Mutex
	products map[productKey]*product
	steady   map[productKey]*product // those of steadyRows, whose algorithms serve others
}

// workspaceBytes is what NVIDIA recommends for Hopper.
const workspaceBytes = 32 << 20

func openCublasLt(folders []string, major int) (*cublasLt, error) {
	lib, err := toolkit.CublasLt.Open(folders, major)
	if err != nil {
		return nil, err
	}
	l := &cublasLt{library: lib, products: map[productKey]*product{}, steady: map[productKey]*product{}, call: func(function uintptr, args ...uintptr) int32 {
		return int32(dl.Call(function, args...))
	}}
	var create, version uintptr
	err = lib.Functions(map[string]*uintptr{"cublasLtCreate": &create, "cublasLtGetVersion": &version, "cublasLtMatmulDescCreate": &l.descCreate,
		"cublasLtMatmulDescSetAttribute": &l.descSet, "cublasLtMatrixLayoutCreate": &l.layoutCreate, "cublasLtMatrixLayoutSetAttribute": &l.layoutSet,
		"cublasLtMatmulPreferenceCreate": &l.preferenceCreate, "cublasLtMatmulPreferenceSetAttribute": &l.preferenceSet,
		"cublasLtMatmulPreferenceDestroy": &l.preferenceFree, "cublasLtMatmulAlgoGetHeuristic": &l.heuristic, "cublasLtMatmulAlgoCheck": &l.check, "cublasLtMatmulAlgoConfigGetAttribute": &l.config, "cublasLtMatmul": &l.matmul, "cublasLtGetStatusString": &l.text})
	if err != nil {
		return nil, err
	}
	l.version = int(dl.Call(version))
	l.handle = create // until start has made one
	return l, nil
}

// productKey is what the choice of an algorithm depends on.
type productKey struct {
	m, n, k, lda, ldb, ldc, batch int
	strideA, strideB, strideC     int
	transA, transB, half, halfC   bool
	bias, accumulate              bool
	alignA, alignB, alignC        uint32
	alignBias                     uint32
}

// product is a prepared call.
type product struct {
	desc, a, b, c uintptr
	algorithm     [8]uint64
	none          bool // the library has none
}

// heuristicResult is cublasLtMatmulHeuristicResult_t.
type heuristicResult struct {
	algorithm [8]uint64
	workspace uintptr
	state     int32
	waves     float32
	reserved  [4]int32
}

// product queues g. Row-major matrices are column-major ones transposed, so the library is asked for Cᵀ = op(B)ᵀ·op(A)ᵀ.
func (l *cublasLt) product(n *nvidia, g *gemm) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.start(n); err != nil {
		return err
	}
	key := productKey{m: g.m, n: g.n, k: g.k, lda: g.lda, ldb: g.ldb, ldc: g.ldc, batch: g.batch, strideA: g.strideA, strideB: g.strideB, strideC: g.strideC,
		transA: g.transA, transB: g.transB, half: g.half, halfC: g.halfC, bias: g.bias != 0, accumulate: g.accumulate,
		alignA: alignment(g.a), alignB: alignment(g.b), alignC: alignment(g.c), alignBias: alignment(g.bias)}
	p, ok := l.products[key]
	if !ok {
		var err error
		if p, err = l.prepare(g); err != nil {
			return err
		}
		if err := l.choose(g, key, p); err != nil {
			return err
		}
		l.products[key] = p
	}
	if p.none { // kept as an answer, so that it is asked for once
		return errNoProduct
	}
	if err := l.setBias(g, p); err != nil {
		return err
	}
	alpha, beta := g.scale, float32(0)
	if g.accumulate {
		beta = 1
	}
	return l.do(l.matmul, l.handle, p.desc, uintptr(unsafe.Pointer(&alpha)), uintptr(g.b), p.b, uintptr(g.a), p.a, uintptr(unsafe.Pointer(&beta)),
		uintptr(g.c), p.c, uintptr(g.c), p.c, uintptr(unsafe.Pointer(&p.algorithm)), l.workspace, workspaceBytes, n.streams[compute])
}

// start makes the library's handle and its workspace at the first product.
func (l *cublasLt) start(n *nvidia) error {
	if l.workspace != 0 {
		return nil
	}
	base, ok := n.Reserve(workspaceBytes)
	if !ok || !n.Commit(base, 0, workspaceBytes) {
		return fmt.Errorf("no memory for cuBLASLt's workspace of %d MiB", workspaceBytes>>20)
	}
	create := l.handle
	if err := l.do(create, uintptr(unsafe.Pointer(&l.handle))); err != nil {
		l.handle = create
		return err
	}
	l.workspace = base
	return nil
}

// do calls a function of the library.
//
//go:uintptrescapes
func (l *cublasLt) do(function uintptr, args ...uintptr) error {
	if code := l.code(function, args...); code != 0 {
		return fmt.Errorf("cuBLASLt: %s", dl.String(dl.Call(l.text, uintptr(code))))
	}
	return nil
}

// code is do for a result that is no error. Calls go through here, since a function value does not keep alive what arguments point to.
//
//go:uintptrescapes
func (l *cublasLt) code(function uintptr, args ...uintptr) int32 { return l.call(function, args...) }

// set sets an attribute of size bytes.
func (l *cublasLt) set(function, of, attribute uintptr, value unsafe.Pointer, size uintptr) error {
	return l.do(function, of, attribute, uintptr(value), size)
}

// alignment is the largest power of two, up to the 16 that algorithms ask for, that divides an address.
func alignment(p pointer) uint32 {
	a := uint32(16)
	for uint32(p)&(a-1) != 0 {
		a /= 2
	}
	return a
}

// prepare makes the descriptions of a product.
func (l *cublasLt) prepare(g *gemm) (*product, error) {
	const compute32, compute32TF32, real32 = 68, 77, 0
	compute := uintptr(compute32)
	if l.tf32 && !g.half {
		compute = compute32TF32
	}
	p := &product{}
	if err := l.do(l.descCreate, uintptr(unsafe.Pointer(&p.desc)), compute, real32); err != nil {
		return nil, err
	}
	const opT, descTransA, descTransB, descEpilogue, epilogueBias = 1, 3, 4, 7, 4
	for _, s := range []struct {
		on        bool
		attribute uintptr
		value     int32
	}{{g.transB, descTransA, opT}, {g.transA, descTransB, opT}, {g.bias != 0, descEpilogue, epilogueBias}} {
		if s.on {
			if err := l.set(l.descSet, p.desc, s.attribute, unsafe.Pointer(&s.value), 4); err != nil {
				return nil, err
			}
		}
	}
	if err := l.setBias(g, p); err != nil { // the choice of an algorithm looks at its alignment
		return nil, err
	}
	return p, l.layouts(g, p)
}

// setBias says where the bias is, if there is one.
func (l *cublasLt) setBias(g *gemm, p *product) error {
	if g.bias == 0 {
		return nil
	}
	const biasPointer = 8
	return l.set(l.descSet, p.desc, biasPointer, unsafe.Pointer(&g.bias), 8)
}

// layouts describes the operands: rows and columns are those of the transposed ones, as stored.
func (l *cublasLt) layouts(g *gemm, p *product) error {
	type2 := map[bool]uintptr{false: 0, true: 14} // CUDA_R_32F, CUDA_R_16BF
	turned := func(rows, cols int, trans bool) (int, int) {
		if trans {
			return cols, rows
		}
		return rows, cols
	}
	for _, m := range []struct {
		to         *uintptr
		half       bool
		rows, cols int
		trans      bool
		ld, stride int
	}{{&p.b, g.half, g.n, g.k, g.transB, g.ldb, g.strideB}, {&p.a, g.half, g.k, g.m, g.transA, g.lda, g.strideA}, {&p.c, g.halfC, g.n, g.m, false, g.ldc, g.strideC}} {
		rows, cols := turned(m.rows, m.cols, m.trans)
		if err := l.do(l.layoutCreate, uintptr(unsafe.Pointer(m.to)), type2[m.half], uintptr(rows), uintptr(cols), uintptr(m.ld)); err != nil {
			return err
		}
		if g.batch <= 1 {
			continue
		}
		const batchCount, batchOffset = 5, 6
		count, offset := int32(g.batch), int64(m.stride)
		if err := l.set(l.layoutSet, *m.to, batchCount, unsafe.Pointer(&count), 4); err != nil {
			return err
		}
		if err := l.set(l.layoutSet, *m.to, batchOffset, unsafe.Pointer(&offset), 8); err != nil {
			return err
		}
	}
	return nil
}

// Rows of a product with many rows do not depend on how many there are: all such products with a weight run the algorithm that is
// chosen for steadyRows of them, which adds each sum up in one piece. Products of fewer rows than manyRows, as decoding has them,
// would not keep the card busy with it, unless they have as many columns as a vocabulary.
const (
	manyRows    = 512
	manyColumns = 32768
	steadyRows  = 4096
)

// isSteady says whether g is such a product. Gradients of weights (transposed A) add up over rows and have no rows to keep apart.
func isSteady(g *gemm) bool {
	return !g.transA && g.batch <= 1 && (g.m >= manyRows || g.n >= manyColumns)
}

// choose decides on an algorithm.
func (l *cublasLt) choose(g *gemm, key productKey, p *product) error {
	if !isSteady(g) {
		return l.ask(key, p, false)
	}
	key.m = steadyRows
	model, ok := l.steady[key]
	if !ok {
		all := *g
		all.m = steadyRows
		var err error
		if model, err = l.prepare(&all); err != nil {
			return err
		}
		if err := l.ask(key, model, true); err != nil {
			return err
		}
		l.steady[key] = model
	}
	var result heuristicResult
	// an algorithm for steadyRows may still not serve these operands, by their alignment: then the library chooses anew
	if !model.none && l.code(l.check, l.handle, p.desc, p.b, p.a, p.c, p.c, uintptr(unsafe.Pointer(&model.algorithm)), uintptr(unsafe.Pointer(&result))) == 0 {
		p.algorithm = model.algorithm
		return nil
	}
	return l.ask(key, p, false)
}

// ask lets the library's heuristic choose, with whole among algorithms that do not divide sums.
func (l *cublasLt) ask(key productKey, p *product, whole bool) error {
	preference, err := l.preference(key, whole)
	if err != nil {
		return err
	}
	defer func() { _ = l.do(l.preferenceFree, preference) }()
	var results [8]heuristicResult
	var count int32
	asked := 1
	if isHead(key) {
		asked = len(results)
	}
	code := l.code(l.heuristic, l.handle, p.desc, p.b, p.a, p.c, p.c, preference, uintptr(asked), uintptr(unsafe.Pointer(&results)), uintptr(unsafe.Pointer(&count)))
	p.none = code != 0 || count == 0 || results[0].state != 0
	p.algorithm = results[0].algorithm
	for _, r := range results[1:max(1, count)] {
		if r.state == 0 && l.overlaps(r.algorithm) && !l.overlaps(p.algorithm) {
			p.algorithm = r.algorithm
		}
	}
	return nil
}

// isHead says whether a product makes logits, or adds to the gradient of a vocabulary: what takes long to write for its sums, in F32. The heuristic
// puts first what writes a tile before it begins the next.
func isHead(key productKey) bool { return key.half && !key.halfC && max(key.m, key.n) >= manyColumns }

// overlaps says whether an algorithm has tiles so small that the sums of two have room on a multiprocessor: it writes one while it multiplies for
// the next. On an H100 2048x128256x2048 takes 1363 µs so and 1510 as the heuristic would have it, 128256x2048x2048 1456 and 1518.
func (l *cublasLt) overlaps(algorithm [8]uint64) bool {
	const tile, tile128x128, tile128x160, tile168x128, tile176x128 = 1, 20, 29, 197, 201
	var id int32
	var written uintptr
	code := l.code(l.config, uintptr(unsafe.Pointer(&algorithm)), tile, uintptr(unsafe.Pointer(&id)), 4, uintptr(unsafe.Pointer(&written)))
	return code == 0 && (id == tile128x128 || id == tile128x160 || id == tile168x128 || id == tile176x128)
}

// preference is what an algorithm may need: room, and operands that are aligned no better than these.
func (l *cublasLt) preference(key productKey, whole bool) (preference uintptr, err error) {
	if err := l.do(l.preferenceCreate, uintptr(unsafe.Pointer(&preference))); err != nil {
		return 0, err
	}
	const workspace, alignA, alignB, alignC, alignD = 1, 5, 6, 7, 8
	size := uint64(workspaceBytes)
	if err := l.set(l.preferenceSet, preference, workspace, unsafe.Pointer(&size), 8); err != nil {
		return 0, err
	}
	if whole {
		const reductions, none = 3, uint32(0)
		value := none
		if err := l.set(l.preferenceSet, preference, reductions, unsafe.Pointer(&value), 4); err != nil {
			return 0, err
		}
	}
	for attribute, value := range map[uintptr]uint32{alignA: key.alignB, alignB: key.alignA, alignC: key.alignC, alignD: key.alignC} {
		if err := l.set(l.preferenceSet, preference, attribute, unsafe.Pointer(&value), 4); err != nil {
			return 0, err
		}
	}
	return preference, nil
}
