package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"hone/device/cuda/kernels"
	"hone/device/cuda/toolkit"
	"hone/internal/atomicfile"
	"hone/internal/dl"
)

// nvidia is the driver of a real card. The numbers of enumerations are those of cuda.h.
type nvidia struct {
	cu       cu
	compiler *toolkit.Compiler
	lt       *cublasLt
	cache    string
	info     card
	device   int32
	context  uintptr
	streams  [queues]uintptr
	grain    int64 // of memory behind addresses

	mu        sync.Mutex
	modules   map[string]uintptr
	reserved  map[uintptr]int64 // bytes of address space by base
	committed map[uintptr]int64 // and of memory behind it
	allowed   map[function]int  // bytes of dynamic shared memory
}

// cu are the functions of libcuda.
type cu struct {
	library *dl.Library
	graphs  *graphFunctions // nil: the driver has none
	version int             // of CUDA that the driver is made for, e.g. 12040

	init, driverVersion, errorName, errorText             uintptr
	deviceCount, deviceGet, deviceName, deviceAttribute   uintptr
	deviceMemory, contextRetain, contextRelease           uintptr
	contextSet                                            uintptr
	addressReserve, memCreate, memMap, memAccess          uintptr
	memRelease, memGrain, memUnmap, addressFree           uintptr
	hostAlloc, hostFree, memcpy, memset                   uintptr
	streamCreate, streamSync, streamWait                  uintptr
	eventCreate, eventRecord, eventSync, eventElapsed     uintptr
	moduleLoad, moduleFunction, functionAttribute, launch uintptr
}

// findCU opens the driver's library where it usually is.
func findCU() (*cu, error) {
	lib, err := dl.Open(toolkit.DriverPaths()...)
	if err != nil {
		return nil, fmt.Errorf("there is no NVIDIA driver here (%v): install it (nvidia-smi lists the cards), or use device: cpu", err)
	}
	return openCU(lib)
}

func openCU(lib *dl.Library) (*cu, error) {
	c := &cu{library: lib}
	err := lib.Functions(map[string]*uintptr{"cuInit": &c.init, "cuDriverGetVersion": &c.driverVersion, "cuGetErrorName": &c.errorName,
		"cuGetErrorString": &c.errorText, "cuDeviceGetCount": &c.deviceCount, "cuDeviceGet": &c.deviceGet, "cuDeviceGetName": &c.deviceName,
		"cuDeviceGetAttribute": &c.deviceAttribute, "cuDeviceTotalMem_v2": &c.deviceMemory, "cuDevicePrimaryCtxRetain": &c.contextRetain,
		"cuDevicePrimaryCtxRelease_v2": &c.contextRelease, "cuCtxSetCurrent": &c.contextSet, "cuMemAddressReserve": &c.addressReserve,
		"cuMemCreate": &c.memCreate, "cuMemMap": &c.memMap, "cuMemSetAccess": &c.memAccess, "cuMemRelease": &c.memRelease, "cuMemUnmap": &c.memUnmap, "cuMemAddressFree": &c.addressFree,
		"cuMemGetAllocationGranularity": &c.memGrain, "cuMemHostAlloc": &c.hostAlloc, "cuMemFreeHost": &c.hostFree,
		"cuMemcpyAsync": &c.memcpy, "cuMemsetD8Async": &c.memset,
		"cuStreamCreate": &c.streamCreate, "cuStreamSynchronize": &c.streamSync, "cuStreamWaitEvent": &c.streamWait, "cuEventCreate": &c.eventCreate, "cuEventRecord": &c.eventRecord,
		"cuEventSynchronize": &c.eventSync, "cuEventElapsedTime": &c.eventElapsed, "cuModuleLoadData": &c.moduleLoad, "cuModuleGetFunction": &c.moduleFunction,
		"cuFuncSetAttribute": &c.functionAttribute, "cuLaunchKernel": &c.launch})
	if err != nil {
		return nil, fmt.Errorf("%w; update the NVIDIA driver", err)
	}
	c.graphs = findGraphs(lib)
	if err := c.do(c.init, 0); err != nil {
		return nil, fmt.Errorf("start the NVIDIA driver: %w; nvidia-smi may say more", err)
	}
	var version int32
	if err := c.do(c.driverVersion, uintptr(unsafe.Pointer(&version))); err != nil {
		return nil, err
	}
	c.version = int(version)
	return c, nil
}

// do calls a function whose result is a CUresult.
//
//go:uintptrescapes
func (c *cu) do(function uintptr, args ...uintptr) error {
	if code := int32(dl.Call(function, args...)); code != 0 {
		return &cuError{code: code, name: c.text(c.errorName, code), text: c.text(c.errorText, code)}
	}
	return nil
}

func (c *cu) text(function uintptr, code int32) string {
	var p uintptr
	if dl.Call(function, uintptr(code), uintptr(unsafe.Pointer(&p))) != 0 {
		return fmt.Sprintf("error %d", code)
	}
	return dl.String(p)
}

// cuError is a result of the driver other than success; code is cuda.h's.
type cuError struct {
	code       int32
	name, text string
}

func (e *cuError) Error() string { return fmt.Sprintf("%s (%s)", e.text, e.name) }

// cards describes the cards that the driver sees.
func (c *cu) cards() ([]card, error) {
	var count int32
	if err := c.do(c.deviceCount, uintptr(unsafe.Pointer(&count))); err != nil {
		return nil, fmt.Errorf("count the cards: %w", err)
	}
	var list []card
	for i := range count {
		info, _, err := c.describe(int(i))
		if err != nil {
			return nil, fmt.Errorf("ask card %d what it is: %w", i, err)
		}
		list = append(list, info)
	}
	return list, nil
}

// describe asks what card index is, and its handle.
func (c *cu) describe(index int) (info card, device int32, err error) {
	if err := c.do(c.deviceGet, uintptr(unsafe.Pointer(&device)), uintptr(index)); err != nil {
		return info, 0, err
	}
	name, memory := make([]byte, 256), uintptr(0)
	if err := c.do(c.deviceName, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)-1), uintptr(device)); err != nil {
		return info, 0, err
	}
	if err := c.do(c.deviceMemory, uintptr(unsafe.Pointer(&memory)), uintptr(device)); err != nil {
		return info, 0, err
	}
	var values [4]int32
	for i, attribute := range [4]uintptr{75, 76, 16, 97} { // compute capability, multiprocessors, shared memory of a block at most
		if err := c.do(c.deviceAttribute, uintptr(unsafe.Pointer(&values[i])), attribute, uintptr(device)); err != nil {
			return info, 0, err
		}
	}
	text := dl.String(uintptr(unsafe.Pointer(&name[0])))
	return card{name: text, arch: int(10*values[0] + values[1]), memory: int64(memory), processors: int(values[2]), shared: int(values[3])}, device, nil
}

func openNvidia(o Options) (*nvidia, error) {
	c, err := findCU()
	if err != nil {
		return nil, err
	}
	n, err := c.open(o)
	if err != nil {
		return nil, err
	}
	if n.compiler, err = toolkit.OpenCompiler(o.Libraries, c.version/1000); err != nil {
		return nil, err
	}
	n.info.warpgroups = n.info.arch == kernels.HopperArch && n.compiler.Major >= 12
	if n.lt, err = openCublasLt(o.Libraries, c.version/1000); err != nil {
		return nil, err
	}
	n.lt.tf32, n.lt.call = o.TF32, n.status
	return n, nil
}

// open makes a driver of a card, without compiler and matrix library.
func (c *cu) open(o Options) (*nvidia, error) {
	cards, err := c.cards()
	if err != nil {
		return nil, err
	}
	if o.Index < 0 || o.Index >= len(cards) {
		return nil, fmt.Errorf("card %d is asked for and the driver sees %d; CUDA_VISIBLE_DEVICES may hide some", o.Index, len(cards))
	}
	n := &nvidia{cu: *c, cache: o.Cache, modules: map[string]uintptr{}, reserved: map[uintptr]int64{}, committed: map[uintptr]int64{}, allowed: map[function]int{}}
	if n.info, n.device, err = c.describe(o.Index); err != nil {
		return nil, err
	}
	if n.info.arch < 80 {
		return nil, fmt.Errorf("%s is of compute capability %.1f; 8.0 (A100, RTX 30) or later is needed, for bf16", n.info.name, float64(n.info.arch)/10)
	}
	return n, n.start()
}

// start makes the context and the streams.
func (n *nvidia) start() error {
	if err := n.cu.do(n.cu.contextRetain, uintptr(unsafe.Pointer(&n.context)), uintptr(n.device)); err != nil {
		return fmt.Errorf("use %s: %w", n.info.name, err)
	}
	const nonBlocking = 1 // the default stream, which libraries may use, waits for none of them
	for q := range n.streams {
		if err := n.do(n.cu.streamCreate, uintptr(unsafe.Pointer(&n.streams[q])), nonBlocking); err != nil {
			return fmt.Errorf("make a stream on %s: %w", n.info.name, err)
		}
	}
	p, grain := n.property(), uintptr(0)
	if err := n.do(n.cu.memGrain, uintptr(unsafe.Pointer(&grain)), uintptr(unsafe.Pointer(&p)), 0); err != nil {
		return fmt.Errorf("ask %s how it divides memory: %w", n.info.name, err)
	}
	n.grain = int64(grain)
	return n.tryMemory()
}

// tryMemory makes a little memory and gives it back, so that a card that makes none says why: Reserve and Commit only say that there is no more.
func (n *nvidia) tryMemory() error {
	var base uintptr
	if err := n.do(n.cu.addressReserve, uintptr(unsafe.Pointer(&base)), uintptr(n.grain), 0, 0, 0); err != nil {
		return fmt.Errorf("reserve addresses on %s: %w", n.info.name, err)
	}
	err := n.commit(base, n.grain)
	if err == nil {
		err = n.do(n.cu.memUnmap, base, uintptr(n.grain))
	}
	if err = errors.Join(err, n.do(n.cu.addressFree, base, uintptr(n.grain))); err != nil {
		return fmt.Errorf("make memory on %s: %w; nvidia-smi says who has it", n.info.name, err)
	}
	return nil
}

// do calls a function of the driver with the context current on this thread, which goroutines change.
//
//go:uintptrescapes
func (n *nvidia) do(function uintptr, args ...uintptr) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := n.cu.do(n.cu.contextSet, n.context); err != nil {
		return err
	}
	return n.cu.do(function, args...)
}

// status is do for functions of other libraries, whose results are not the driver's.
//
//go:uintptrescapes
func (n *nvidia) status(function uintptr, args ...uintptr) int32 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := n.cu.do(n.cu.contextSet, n.context); err != nil {
		return -1
	}
	return int32(dl.Call(function, args...))
}

func (n *nvidia) card() card { return n.info }

// allocationProperty is CUmemAllocationProp: pinned memory of a device.
type allocationProperty struct {
	kind, handles     int32
	location, device  int32
	windows           uintptr
	compression, rdma uint8
	usage             uint16
	reserved          [4]uint8
}

func (n *nvidia) property() allocationProperty {
	return allocationProperty{kind: 1, location: 1, device: n.device}
}

// accessDescription is CUmemAccessDesc.
type accessDescription struct{ location, device, flags int32 }

// Reserve takes addresses alone, in whole grains: they cost nothing, and a pool that grows in place never moves.
func (n *nvidia) Reserve(size int64) (base uintptr, ok bool) {
	size = (size + n.grain - 1) / n.grain * n.grain
	if n.do(n.cu.addressReserve, uintptr(unsafe.Pointer(&base)), uintptr(size), 0, 0, 0) != nil {
		return 0, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reserved[base] = size
	return base, true
}

// commitStep is how much memory is put behind addresses at a time, so that a growing pool makes few calls.
const commitStep = 64 << 20

// Commit puts memory behind addresses up to hi: in whole steps, or, where the card has no whole step left, in grains.
func (n *nvidia) Commit(base uintptr, _, hi int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	have := n.committed[base]
	if hi <= have {
		return true
	}
	for _, step := range []int64{commitStep, n.grain} {
		size := min((hi-have+step-1)/step*step, n.reserved[base]-have)
		if n.commit(base+uintptr(have), size) == nil {
			n.committed[base] = have + size
			return true
		}
	}
	return false
}

// commit puts size bytes of memory at an address.
func (n *nvidia) commit(at uintptr, size int64) error {
	p, handle := n.property(), uintptr(0)
	if err := n.do(n.cu.memCreate, uintptr(unsafe.Pointer(&handle)), uintptr(size), uintptr(unsafe.Pointer(&p)), 0); err != nil {
		return err
	}
	defer func() { _ = n.do(n.cu.memRelease, handle) }() // the mapping keeps it
	if err := n.do(n.cu.memMap, at, uintptr(size), 0, handle, 0); err != nil {
		return err
	}
	access := accessDescription{location: 1, device: n.device, flags: 3}
	return n.do(n.cu.memAccess, at, uintptr(size), uintptr(unsafe.Pointer(&access)), 1)
}

// pin clears what it gets: the host reads the word that kernels report to before any has.
func (n *nvidia) pin(size int64) (unsafe.Pointer, error) {
	var p uintptr
	const portableAndMapped = 3
	if err := n.do(n.cu.hostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(size), portableAndMapped); err != nil {
		return nil, err
	}
	clear(unsafe.Slice((*byte)(dl.Pointer(p)), size))
	return dl.Pointer(p), nil
}

func (n *nvidia) unpin(p unsafe.Pointer) error { return n.do(n.cu.hostFree, uintptr(p)) }

// copy needs no direction: addresses are unified, and the driver sees what they are of.
func (n *nvidia) copy(q queue, dst, src pointer, size int64) error {
	return n.do(n.cu.memcpy, uintptr(dst), uintptr(src), uintptr(size), n.streams[q])
}

// clear runs on compute, in order with the kernels that use the memory.
func (n *nvidia) clear(dst pointer, size int64) error {
	return n.do(n.cu.memset, uintptr(dst), 0, uintptr(size), n.streams[compute])
}

// load compiles the kernel's file unless the cache has it.
func (n *nvidia) load(k kernel) (function, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	module, ok := n.modules[k.file]
	if !ok {
		code, err := n.code(k.file)
		if err != nil {
			return 0, err
		}
		if err := n.do(n.cu.moduleLoad, uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&code[0]))); err != nil {
			return 0, fmt.Errorf("load %s.cu for sm_%d: %w", k.file, n.info.arch, err)
		}
		n.modules[k.file] = module
	}
	name, f := append([]byte(k.name), 0), uintptr(0)
	err := n.do(n.cu.moduleFunction, uintptr(unsafe.Pointer(&f)), module, uintptr(unsafe.Pointer(&name[0])))
	return function(f), err
}

// code is a compiled file. A cache that cannot be read or written only costs time.
func (n *nvidia) code(file string) ([]byte, error) {
	text := kernels.Source(file)
	path := filepath.Join(n.cache, kernels.CacheName(file, text, n.info.arch, n.compiler.Version))
	if n.cache != "" {
		if code, err := os.ReadFile(path); err == nil && len(code) > 0 {
			return code, nil
		}
	}
	code, _, err := n.compiler.Compile(kernels.Target(file, n.info.arch), file, text)
	if err != nil || n.cache == "" {
		return code, err
	}
	if os.MkdirAll(n.cache, 0o755) == nil {
		_ = atomicfile.WriteFile(path, code)
	}
	return code, nil
}

// plainShared is the dynamic shared memory that a kernel has without asking: 48 KiB less what it declares.
const plainShared = 40 << 10

// launch queues a kernel, which takes one argument: its structure. The driver copies that before the call returns.
func (n *nvidia) launch(f function, s shape, args unsafe.Pointer, _ uintptr) error {
	if err := n.allow(f, s.shared); err != nil {
		return err
	}
	parameters := [1]unsafe.Pointer{args}
	return n.do(n.cu.launch, uintptr(f), uintptr(s.x), uintptr(s.y), uintptr(s.z), uintptr(s.threads), 1, 1, uintptr(s.shared), n.streams[compute],
		uintptr(unsafe.Pointer(&parameters)), 0)
}

// allow lets a kernel have more shared memory than the plain amount.
func (n *nvidia) allow(f function, bytes int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if bytes <= plainShared || bytes <= n.allowed[f] {
		return nil
	}
	if bytes > n.info.shared {
		return fmt.Errorf("it needs %d KiB of shared memory and %s has %d", bytes>>10, n.info.name, n.info.shared>>10)
	}
	const mostDynamic = 8
	if err := n.do(n.cu.functionAttribute, uintptr(f), mostDynamic, uintptr(bytes)); err != nil {
		return err
	}
	n.allowed[f] = bytes
	return nil
}

// mark records an event in a stream, an old one anew where there is one. What waited for the old place has been told so before.
func (n *nvidia) mark(q queue, old mark) (mark, error) {
	event := uintptr(old)
	if event == 0 {
		const withoutTiming = 2
		if err := n.do(n.cu.eventCreate, uintptr(unsafe.Pointer(&event)), withoutTiming); err != nil {
			return 0, err
		}
	}
	return mark(event), n.do(n.cu.eventRecord, event, n.streams[q])
}

func (n *nvidia) wait(m mark) error { return n.do(n.cu.eventSync, uintptr(m)) }

func (n *nvidia) await(q queue, m mark) error {
	return n.do(n.cu.streamWait, n.streams[q], uintptr(m), 0)
}

func (n *nvidia) sync() (err error) {
	for _, stream := range n.streams {
		err = errors.Join(err, n.do(n.cu.streamSync, stream))
	}
	return err
}

func (n *nvidia) gemm(g *gemm) error { return n.lt.product(n, g) }

// close gives the memory back and lets go of the context.
func (n *nvidia) close() error {
	err := n.sync()
	for base, size := range n.reserved {
		if have := n.committed[base]; have > 0 {
			err = errors.Join(err, n.do(n.cu.memUnmap, base, uintptr(have)))
		}
		err = errors.Join(err, n.do(n.cu.addressFree, base, uintptr(size)))
	}
	return errors.Join(err, n.cu.do(n.cu.contextRelease, uintptr(n.device)))
}
