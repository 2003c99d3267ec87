// A libcuda for tests: the functions that the device calls, with the signatures of cuda.h, over the host's memory and the
// emulated kernels. It refuses what a real one would: calls without a context on the thread, streams that it did not make, sizes that are
// no multiple of the granularity, more shared memory than was asked for.
#include <dlfcn.h>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vector>

extern "C" int hone_launch(void (*kernel)(const void *), const void *args, const unsigned *shape, int shared, int falling, char *text, int size);

namespace {

typedef int CUresult, CUdevice;
typedef unsigned long long CUdeviceptr, CUhandle;
typedef void *CUcontext, *CUstream, *CUevent, *CUmodule, *CUfunction;

struct Location {
	int type, id;
};
struct AllocationProp {
	int type, handles;
	Location location;
	void *windows;
	struct {
		unsigned char compression, rdma;
		unsigned short usage;
		unsigned char reserved[4];
	} flags;
};
struct AccessDesc {
	Location location;
	int flags;
};

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, NOT_FOUND = 500, INVALID_HANDLE = 400 };
const size_t GRAIN = 2 << 20;
char the_context, the_module;
std::set<CUstream> streams;
thread_local CUcontext current;
std::mutex lock;
std::map<CUfunction, int> allowed;
std::map<CUfunction, size_t *> sizes; // of arguments
std::map<CUdeviceptr, size_t> reserved;
const size_t MOST = (size_t)700 << 20; // of memory that is made at once

bool ours(CUstream s) {
	std::lock_guard<std::mutex> held(lock);
	return streams.count(s);
}

} // namespace

#define NEEDS_CONTEXT \
	if (current != &the_context) return INVALID_CONTEXT
#define NEEDS_STREAM(s) \
	NEEDS_CONTEXT;         \
	if (!ours(s)) return INVALID_HANDLE

extern "C" {
CUresult cuInit(unsigned flags) { return flags == 0 ? OK : INVALID_VALUE; }
CUresult cuDriverGetVersion(int *v) { return *v = 13020, OK; }
CUresult cuGetErrorName(CUresult, const char **s) { return *s = "CUDA_ERROR_OF_THE_TEST", OK; }
CUresult cuGetErrorString(CUresult, const char **s) { return *s = "an error of the test's driver", OK; }
CUresult cuDeviceGetCount(int *n) { return *n = 1, OK; }
CUresult cuDeviceGet(CUdevice *d, int i) { return i == 0 ? (*d = 7, OK) : INVALID_VALUE; }
CUresult cuDeviceGetName(char *name, int n, CUdevice d) { return d == 7 ? (strncpy(name, "NVIDIA H100 of the test", n), OK) : INVALID_VALUE; }
CUresult cuDeviceGetAttribute(int *v, int attribute, CUdevice d) {
	if (d != 7) return INVALID_VALUE;
	switch (attribute) {
	case 75: return *v = 9, OK;
	case 76: return *v = 0, OK;
	case 16: return *v = 132, OK;
	case 97: return *v = 227 << 10, OK;
	}
	return INVALID_VALUE;
}
CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice d) { return d == 7 ? (*n = (size_t)1 << 30, OK) : INVALID_VALUE; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { return d == 7 ? (*c = &the_context, OK) : INVALID_VALUE; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) { return d == 7 ? OK : INVALID_VALUE; }
CUresult cuCtxSetCurrent(CUcontext c) { return current = c, OK; }

static bool plain(const AllocationProp *p) { return p->type == 1 && p->handles == 0 && p->location.type == 1 && p->location.id == 7 && !p->windows; }

CUresult cuMemGetAllocationGranularity(size_t *n, const AllocationProp *p, int option) {
	NEEDS_CONTEXT;
	return plain(p) && option == 0 ? (*n = GRAIN, OK) : INVALID_VALUE;
}
CUresult cuMemAddressReserve(CUdeviceptr *p, size_t size, size_t align, CUdeviceptr at, unsigned long long flags) {
	NEEDS_CONTEXT;
	if (size == 0 || size % GRAIN || align || at || flags) return INVALID_VALUE;
	void *m = mmap(0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m == MAP_FAILED) return INVALID_VALUE;
	std::lock_guard<std::mutex> held(lock);
	reserved[*p = (CUdeviceptr)m] = size;
	return OK;
}
CUresult cuMemCreate(CUhandle *h, size_t size, const AllocationProp *p, unsigned long long flags) {
	NEEDS_CONTEXT;
	if (size > MOST) return OUT_OF_MEMORY;
	return plain(p) && size > 0 && size % GRAIN == 0 && !flags ? (*h = size, OK) : INVALID_VALUE;
}
CUresult cuMemMap(CUdeviceptr p, size_t size, size_t offset, CUhandle h, unsigned long long flags) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	auto r = reserved.upper_bound(p);
	if (r == reserved.begin() || p + size > std::prev(r)->first + std::prev(r)->second) return INVALID_VALUE;
	return size == h && !offset && !flags ? OK : INVALID_VALUE;
}
CUresult cuMemSetAccess(CUdeviceptr p, size_t size, const AccessDesc *d, size_t count) {
	NEEDS_CONTEXT;
	if (count != 1 || d->location.type != 1 || d->location.id != 7 || d->flags != 3) return INVALID_VALUE;
	return mprotect((void *)p, size, PROT_READ | PROT_WRITE) ? INVALID_VALUE : OK;
}
CUresult cuMemUnmap(CUdeviceptr p, size_t size) {
	NEEDS_CONTEXT;
	return size == 0 || size % GRAIN || mprotect((void *)p, size, PROT_NONE) ? INVALID_VALUE : OK;
}
CUresult cuMemAddressFree(CUdeviceptr p, size_t size) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	if (!reserved.count(p) || reserved[p] != size) return INVALID_VALUE;
	reserved.erase(p);
	return munmap((void *)p, size) ? INVALID_VALUE : OK;
}
CUresult cuMemRelease(CUhandle h) { return h ? OK : INVALID_VALUE; }
CUresult cuMemHostAlloc(void **p, size_t size, unsigned flags) {
	NEEDS_CONTEXT;
	return flags == 3 ? (*p = aligned_alloc(4096, (size + 4095) / 4096 * 4096), memset(*p, 0xff, size), OK) : INVALID_VALUE;
}
CUresult cuMemFreeHost(void *p) { return free(p), OK; }
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) {
	NEEDS_STREAM(s);
	return memcpy((void *)to, (void *)from, n), OK;
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char v, size_t n, CUstream s) {
	NEEDS_STREAM(s);
	return memset((void *)to, v, n), OK;
}
CUresult cuStreamCreate(CUstream *s, unsigned flags) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	return flags == 1 ? (streams.insert(*s = malloc(1)), OK) : INVALID_VALUE;
}
CUresult cuStreamSynchronize(CUstream s) {
	NEEDS_STREAM(s);
	return OK;
}
CUresult cuEventCreate(CUevent *e, unsigned flags) {
	NEEDS_CONTEXT;
	return flags == 2 || flags == 0 ? (*e = malloc(1), OK) : INVALID_VALUE;
}
CUresult cuEventRecord(CUevent e, CUstream s) {
	NEEDS_STREAM(s);
	return e ? OK : INVALID_HANDLE;
}
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) {
	NEEDS_STREAM(s);
	return e && flags == 0 ? OK : INVALID_HANDLE;
}
CUresult cuEventSynchronize(CUevent e) { return e ? OK : INVALID_HANDLE; }

// Every two events lie half a millisecond apart.
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
	return from && to ? (*ms = 0.5f, OK) : INVALID_HANDLE;
}
CUresult cuModuleLoadData(CUmodule *m, const void *image) {
	NEEDS_CONTEXT;
	return memcmp(image, "compiled", 8) ? INVALID_VALUE : (*m = &the_module, OK);
}
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
	NEEDS_CONTEXT;
	if (m != &the_module || !(*f = dlsym(RTLD_DEFAULT, name))) return NOT_FOUND;
	std::lock_guard<std::mutex> held(lock);
	sizes[*f] = (size_t *)dlsym(RTLD_DEFAULT, (std::string(name) + "_bytes").c_str());
	return OK;
}
CUresult cuFuncSetAttribute(CUfunction f, int attribute, int value) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	return attribute == 8 && value <= 227 << 10 ? (allowed[f] = value, OK) : INVALID_VALUE;
}
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream s, void **params, void **extra) {
	NEEDS_STREAM(s);
	{
		std::lock_guard<std::mutex> held(lock);
		if (by != 1 || bz != 1 || extra || (int)shared > (allowed.count(f) ? allowed[f] : 46 << 10)) return INVALID_VALUE;
	}
	unsigned shape[4] = {gx, gy, gz, bx};
	char text[512];
	return hone_launch((void (*)(const void *))f, params[0], shape, (int)shared, 0, text, sizeof text) ? INVALID_VALUE : OK;
}


// Graphs: nodes and instances keep arguments of their own, and an instance runs its nodes when it is launched, each after those that it depends on.
struct NodeParams {
	CUfunction func;
	unsigned gx, gy, gz, bx, by, bz, shared;
	void **params, **extra;
	void *kern, *ctx;
};
struct Launch {
	NodeParams p;
	std::vector<char> args;
};
struct Graph {
	std::vector<std::unique_ptr<Launch>> nodes;
	std::map<Launch *, std::vector<Launch *>> after;
};
struct Instance {
	std::vector<Launch *> nodes; // of the graph, in an order in which they can run
	std::map<Launch *, Launch> own;
};
static std::set<Graph *> graphs;
static std::set<Instance *> instances;

static bool describe(Launch *l, const NodeParams *p) {
	size_t *size = sizes.count(p->func) ? sizes[p->func] : 0;
	if (!size || p->by != 1 || p->bz != 1 || !p->gx || !p->gy || !p->gz || p->extra || p->kern || p->ctx || (int)p->shared > (allowed.count(p->func) ? allowed[p->func] : 46 << 10)) return false;
	const char *from = (const char *)p->params[0];
	l->p = *p, l->args.assign(from, from + *size);
	return true;
}
CUresult cuGraphCreate(Graph **g, unsigned flags) {
	std::lock_guard<std::mutex> held(lock);
	return flags ? INVALID_VALUE : (graphs.insert(*g = new Graph), OK);
}
CUresult cuGraphAddKernelNode_v2(Launch **node, Graph *g, Launch *const *before, size_t n, const NodeParams *p) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	if (!graphs.count(g) || (n > 0) != (before != 0)) return INVALID_VALUE;
	std::unique_ptr<Launch> l(new Launch);
	if (!describe(l.get(), p)) return INVALID_VALUE;
	*node = l.get();
	for (size_t i = 0; i < n; i++) {
		bool known = false;
		for (auto &other : g->nodes) known |= other.get() == before[i];
		if (!known) return INVALID_VALUE;
		g->after[*node].push_back(before[i]);
	}
	g->nodes.push_back(std::move(l));
	return OK;
}
CUresult cuGraphInstantiateWithFlags(Instance **made, Graph *g, unsigned long long flags) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	if (!graphs.count(g) || flags) return INVALID_VALUE;
	Instance *x = new Instance;
	while (x->nodes.size() < g->nodes.size()) // the last that can run comes first: only what is said of the order holds
		for (size_t i = g->nodes.size(); i-- > 0;) {
			Launch *l = g->nodes[i].get();
			bool ready = !x->own.count(l);
			for (Launch *b : g->after[l]) ready &= x->own.count(b) > 0;
			if (!ready) continue;
			x->nodes.push_back(l), x->own[l] = *l;
			break;
		}
	instances.insert(*made = x);
	return OK;
}
CUresult cuGraphExecKernelNodeSetParams_v2(Instance *x, Launch *node, const NodeParams *p) {
	NEEDS_CONTEXT;
	std::lock_guard<std::mutex> held(lock);
	if (!instances.count(x) || !x->own.count(node) || x->own[node].p.func != p->func) return INVALID_VALUE;
	return describe(&x->own[node], p) ? OK : INVALID_VALUE;
}
CUresult cuGraphLaunch(Instance *x, CUstream s) {
	NEEDS_STREAM(s);
	{
		std::lock_guard<std::mutex> held(lock);
		if (!instances.count(x)) return INVALID_VALUE;
	}
	char text[512];
	for (Launch *node : x->nodes) {
		Launch &l = x->own[node];
		unsigned shape[4] = {l.p.gx, l.p.gy, l.p.gz, l.p.bx};
		if (hone_launch((void (*)(const void *))l.p.func, l.args.data(), shape, (int)l.p.shared, 0, text, sizeof text)) return INVALID_VALUE;
	}
	return OK;
}
CUresult cuGraphExecDestroy(Instance *x) {
	std::lock_guard<std::mutex> held(lock);
	return instances.erase(x) ? (delete x, OK) : INVALID_VALUE;
}
CUresult cuGraphDestroy(Graph *g) {
	std::lock_guard<std::mutex> held(lock);
	return graphs.erase(g) ? (delete g, OK) : INVALID_VALUE;
}

// In the place of cuBLASLt: descriptions are made of nothing, and no product is there.
int hone_described() { return 0; }
// Or the sizes of the result are kept, and the algorithm is its number of rows.
struct Layout {
	size_t rows, cols;
};
int hone_layout(Layout **l, int, size_t rows, size_t cols, long long) { return *l = new Layout{rows, cols}, 0; }
int hone_heuristic(void *, void *, Layout *, Layout *, Layout *c, Layout *, void *, int most, size_t *algorithm, int *count) {
	memset(algorithm, 0, 96 * most);
	*count = most < 3 ? most : 3;
	for (int i = 0; i < *count; i++) algorithm[12 * i] = 100000 * i + c->cols;
	return 0;
}
int hone_config(size_t *algorithm, int attribute, int *tile, size_t bytes, size_t *) { // 128x160 for the third, 128x256 for others
	return attribute != 1 || bytes != 4 ? 7 : (*tile = algorithm[0] / 100000 == 2 ? 29 : 23, 0);
}
int hone_matmul() { return 0; }
int hone_no_product() { return 15; } // CUBLAS_STATUS_NOT_SUPPORTED
}
