package cuda

import (
	"errors"
	"unsafe"

	"hone/internal/dl"
)

// graphFunctions are those of libcuda that make graphs, which older drivers lack.
type graphFunctions struct {
	create, add, instantiate, set, launch, destroy, destroyInstance uintptr
}

// findGraphs is nil where one is missing: launches are queued one by one then.
func findGraphs(l *dl.Library) *graphFunctions {
	f := &graphFunctions{}
	err := l.Functions(map[string]*uintptr{"cuGraphCreate": &f.create, "cuGraphAddKernelNode_v2": &f.add, "cuGraphInstantiateWithFlags": &f.instantiate,
		"cuGraphExecKernelNodeSetParams_v2": &f.set, "cuGraphLaunch": &f.launch, "cuGraphDestroy": &f.destroy, "cuGraphExecDestroy": &f.destroyInstance})
	if err != nil {
		return nil
	}
	return f
}

// kernelNode is CUDA_KERNEL_NODE_PARAMS_v2.
type kernelNode struct {
	f                             function
	x, y, z, threads, two, three  uint32
	shared                        uint32
	parameters                    unsafe.Pointer // to an array of pointers
	extra, kernel, contextOfOther uintptr
}

// nodeOf describes launch i of l.
func (n *nvidia) nodeOf(i int, l *launches) (*kernelNode, error) {
	c := &l.calls[i]
	if err := n.allow(c.f, c.s.shared); err != nil {
		return nil, err
	}
	return &kernelNode{f: c.f, x: uint32(c.s.x), y: uint32(c.s.y), z: uint32(c.s.z), threads: uint32(c.s.threads), two: 1, three: 1, shared: uint32(c.s.shared),
		parameters: unsafe.Pointer(&[1]unsafe.Pointer{unsafe.Pointer(&l.words[c.at])})}, nil
}

// nvidiaGraph is a chain of kernels.
type nvidiaGraph struct {
	n               *nvidia
	graph, instance uintptr
	nodes           []uintptr
}

func (n *nvidia) graph(l *launches) (made graph, err error) {
	f := n.cu.graphs
	if f == nil {
		return nil, errNoGraphs
	}
	g := &nvidiaGraph{n: n, nodes: make([]uintptr, len(l.calls))}
	if err := n.do(f.create, uintptr(unsafe.Pointer(&g.graph)), 0); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.free())
		}
	}()
	for i := range l.calls {
		node, err := n.nodeOf(i, l)
		if err != nil {
			return nil, err
		}
		before := uintptr(0) // the address of the node that this one comes after
		if i > 0 {
			before = uintptr(unsafe.Pointer(&g.nodes[i-1]))
		}
		if err := n.do(f.add, uintptr(unsafe.Pointer(&g.nodes[i])), g.graph, before, uintptr(min(i, 1)), uintptr(unsafe.Pointer(node))); err != nil {
			return nil, err
		}
	}
	if err := n.do(f.instantiate, uintptr(unsafe.Pointer(&g.instance)), g.graph, 0); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *nvidiaGraph) set(i int, l *launches) error {
	node, err := g.n.nodeOf(i, l)
	if err != nil {
		return err
	}
	return g.n.do(g.n.cu.graphs.set, g.instance, g.nodes[i], uintptr(unsafe.Pointer(node)))
}

func (g *nvidiaGraph) queue() error {
	return g.n.do(g.n.cu.graphs.launch, g.instance, g.n.streams[compute])
}

func (g *nvidiaGraph) free() (err error) {
	if g.instance != 0 {
		err = g.n.do(g.n.cu.graphs.destroyInstance, g.instance)
	}
	return errors.Join(err, g.n.do(g.n.cu.graphs.destroy, g.graph))
}
