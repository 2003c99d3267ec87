// Runs kernels on the host for tests: the blocks of a grid one after the other, the threads of a block as fibers on one
// thread of the system. A fiber runs until a barrier or an exchange within its warp; then the next one does. Fibers run in
// rising or falling order: a kernel whose result depends on it has a race. Static and dynamic shared memory is of one block,
// and the dynamic one holds NaN before it is written. What touches memory outside of what is mapped ends the kernel with a message.
#include "emulated.h"
#include <mutex>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#include <ucontext.h>
#endif

extern "C" {
Dim3 threadIdx, blockIdx, blockDim, gridDim;
alignas(128) unsigned char hone_shared[HONE_DYNAMIC_SHARED];
}

namespace {

const int MOST = 1024;          // threads of a block
const size_t STACK = 64 << 10;  // bytes of a fiber
enum State { READY, AT_BARRIER, AT_EXCHANGE, AT_MEETING, DONE };

#ifdef __x86_64__
typedef void *Context; // its stack pointer
extern "C" void hone_switch(Context *save, Context to);
asm(".text\n.globl hone_switch\n.hidden hone_switch\nhone_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
#else
typedef ucontext_t Context;
void hone_switch(Context *save, Context &to) { swapcontext(save, &to); }
#endif

struct Copy {
	void *to;
	const void *from;
	int bytes;
	bool there;
	int group;
};

struct Fiber {
	Context context;
	char *stack;
	State state;
	bool out; // the exchange is complete: what is in its warp's slots may be read
	std::vector<Copy> copies; // that have not been waited for
	int groups;               // of copies that were ended
	bool unshown;             // copies were made that products do not see yet
	std::vector<HoneWide> products; // that have not been waited for
	int product_groups;
	const HoneMeeting *meeting; // AT_MEETING: until this phase of it is over
	int phase;
};

const int GIVEN = 64; // bytes that a lane can give, and get
struct Warp {
	alignas(16) unsigned char slot[2][32 * GIVEN], result[2][32 * GIVEN];
	int turn; // slots are used by turns, so that a fast lane does not overwrite what a slow one still reads
	int arrived;
};

Fiber fibers[MOST];
Warp warps[MOST / 32];
Context scheduler;
int running, threads, at_barrier, done, shared_bytes;
int step; // to the next thread: 1, or -1
void (*body)(const void *);
const void *arguments;
char *message;
int message_size;
const char *trouble;

void yield() { hone_switch(&fibers[running].context, scheduler); }

void entry() {
	body(arguments);
	fibers[running].state = DONE;
	done++;
	yield();
	abort(); // a finished fiber is not resumed
}

void prepare(Fiber &f) {
	if (!f.stack) f.stack = (char *)mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f.state = READY;
	f.out = false;
	f.copies.clear();
	f.products.clear();
	f.groups = f.product_groups = 0;
	f.unshown = false;
#ifdef __x86_64__
	void **top = (void **)(f.stack + STACK - 16);
	*--top = 0; // where entry would return to; keeps the stack aligned as a call does
	*--top = (void *)entry;
	for (int i = 0; i < 6; i++) *--top = 0;
	f.context = top;
#else
	getcontext(&f.context);
	f.context.uc_stack.ss_sp = f.stack;
	f.context.uc_stack.ss_size = STACK;
	f.context.uc_link = 0;
	makecontext(&f.context, entry, 0);
#endif
}

void resume(int t, Context *from) {
	running = t;
	threadIdx.x = t;
	hone_switch(from, fibers[t].context);
}

bool ready(int t) {
	Fiber &f = fibers[t];
	if (f.state == AT_EXCHANGE && f.out) f.state = READY;
	if (f.state == AT_MEETING && (f.meeting->phase & 1) != f.phase) f.state = READY;
	return f.state == READY;
}

int lanes(int warp) { return threads - warp * 32 < 32 ? threads - warp * 32 : 32; }

// block runs the fibers of a block to their end; what cannot go on is a mistake in the kernel.
bool block() {
	at_barrier = done = 0;
	for (int w = 0; w < MOST / 32; w++) warps[w].turn = warps[w].arrived = 0;
	for (int t = 0; t < threads; t++) prepare(fibers[t]);
	while (done < threads) {
		bool moved = false;
		for (int i = 0; i < threads; i++) {
			int t = step < 0 ? threads - 1 - i : i;
			if (!ready(t)) continue;
			moved = true;
			resume(t, &scheduler);
		}
		if (at_barrier == threads) {
			at_barrier = 0;
			for (int t = 0; t < threads; t++) fibers[t].state = READY;
			moved = true;
		}
		if (!moved) {
			trouble = "some threads wait at a barrier or a shuffle that others never reach";
			return false;
		}
	}
	return true;
}

sigjmp_buf escape;
__thread bool inside;
struct sigaction old_segv, old_bus;
void *faulted;

void on_fault(int sig, siginfo_t *info, void *context) {
	if (inside) {
		faulted = info->si_addr;
		siglongjmp(escape, 1);
	}
	struct sigaction *old = sig == SIGSEGV ? &old_segv : &old_bus;
	if (old->sa_flags & SA_SIGINFO)
		old->sa_sigaction(sig, info, context);
	else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN)
		old->sa_handler(sig);
	else
		signal(sig, SIG_DFL);
}

bool grid(int shared, bool falling) {
	step = falling ? -1 : 1;
	unsigned long blocks = (unsigned long)gridDim.x * gridDim.y * gridDim.z;
	for (unsigned long i = 0; i < blocks; i++) {
		unsigned long b = falling ? blocks - 1 - i : i;
		blockIdx = Dim3{(unsigned)(b % gridDim.x), (unsigned)(b / gridDim.x % gridDim.y), (unsigned)(b / gridDim.x / gridDim.y)};
		memset(hone_shared, 0xff, shared);
		if (!block()) return false;
	}
	return true;
}

} // namespace

extern "C" void hone_block_barrier() {
	fibers[running].state = AT_BARRIER;
	at_barrier++;
	yield();
}

// meet is where the lanes of a warp wait for each other, each with what it gives; the last one works on all. It returns the turn.
static int meet(const void *in, int bytes, void (*work)(const unsigned char *in, unsigned char *out)) {
	int t = running, w = t / 32, n = lanes(w);
	Warp &warp = warps[w];
	int turn = warp.turn;
	memcpy(warp.slot[turn] + t % 32 * bytes, in, bytes);
	if (++warp.arrived == n) { // lets the others go
		if (work) work(warp.slot[turn], warp.result[turn]);
		warp.arrived = 0;
		warp.turn = 1 - turn;
		for (int i = w * 32; i < w * 32 + n; i++)
			if (i != t) fibers[i].out = true;
	} else {
		fibers[t].out = false;
		fibers[t].state = AT_EXCHANGE;
		int next = t + step; // of the same warp: no need to ask who is ready
		if (next >= 0 && next / 32 == w && next < threads && ready(next))
			resume(next, &fibers[t].context);
		else
			yield();
	}
	return turn;
}

extern "C" unsigned hone_exchange(unsigned mask, unsigned v, int lane) {
	Warp &warp = warps[running / 32];
	if (lane >= lanes(running / 32)) lane = running % 32;
	int turn = meet(&v, sizeof v, 0);
	return ((unsigned *)warp.slot[turn])[lane];
}

extern "C" void hone_together(const void *in, int in_bytes, void *out, int out_bytes, void (*work)(const unsigned char *in, unsigned char *out)) {
	if (lanes(running / 32) != 32) hone_refuse("a warp that is not whole uses its tensor cores");
	Warp &warp = warps[running / 32];
	int turn = meet(in, in_bytes, work);
	memcpy(out, warp.result[turn] + running % 32 * out_bytes, out_bytes);
}

extern "C" void hone_refuse(const char *why) {
	trouble = why;
	siglongjmp(escape, 2);
}

extern "C" bool hone_is_shared(const void *p, int bytes) {
	const unsigned char *at = (const unsigned char *)p;
	return at >= hone_shared && at + bytes <= hone_shared + shared_bytes;
}

unsigned long hone_conflicts;

extern "C" void hone_copy_later(void *to, const void *from, int bytes, int there) {
	const unsigned char *at = (const unsigned char *)to;
	if (at >= hone_shared && at < hone_shared + HONE_DYNAMIC_SHARED && !hone_is_shared(to, bytes)) hone_refuse("a copy goes behind the shared memory of the block");
	fibers[running].copies.push_back(Copy{to, from, bytes, there != 0, fibers[running].groups});
}

extern "C" void hone_copies_end_group() { fibers[running].groups++; }

extern "C" void hone_copy_now(int but) {
	Fiber &f = fibers[running];
	std::vector<Copy> later;
	f.unshown = f.unshown || !f.copies.empty();
	for (const Copy &c : f.copies)
		if (but >= 0 && c.group >= f.groups - but)
			later.push_back(c);
		else if (c.there)
			memcpy(c.to, c.from, c.bytes);
		else
			memset(c.to, 0, c.bytes);
	f.copies.swap(later);
}

extern "C" void hone_copies_shown() { fibers[running].unshown = false; }

extern "C" void hone_product_later(const HoneWide *p) {
	for (int t = 0; t < threads; t++)
		if (fibers[t].unshown) return hone_refuse("a product begins before all copies are shown to the tensor cores");
	Fiber &f = fibers[running];
	f.products.push_back(*p);
	f.products.back().group = f.product_groups;
}

extern "C" void hone_products_end_group() { fibers[running].product_groups++; }

extern "C" void hone_products_now(int but) {
	Fiber &f = fibers[running];
	size_t n = 0;
	for (; n < f.products.size() && f.products[n].group < f.product_groups - but; n++) {
		HoneWide *p = &f.products[n];
		hone_together(&p, sizeof p, 0, 0, hone_wide_warp);
	}
	f.products.erase(f.products.begin(), f.products.begin() + n);
}

extern "C" void hone_meeting_begin(HoneMeeting *m, int threads) { *m = HoneMeeting{(short)threads, (short)threads, 0}; }

extern "C" void hone_meeting_arrive(HoneMeeting *m) {
	if (fibers[running].unshown) return hone_refuse("a thread says that its copies are there before it has shown them to the tensor cores");
	if (--m->missing == 0) m->missing = m->threads, m->phase++;
}

extern "C" void hone_meeting_wait(HoneMeeting *m, int phase) {
	Fiber &f = fibers[running];
	f.meeting = m, f.phase = phase & 1;
	if ((m->phase & 1) != f.phase) return;
	f.state = AT_MEETING;
	yield();
}

// hone_settled refuses what a kernel does with registers before it has waited for the products that use them.
extern "C" void hone_settled(const void *registers) {
	for (const HoneWide &p : fibers[running].products)
		if (p.c == registers || p.a == registers) hone_refuse("registers are used before the product with them has been waited for");
}

// hone_launch runs a kernel, one at a time since its threads and shared memory are static, and returns 0, or 1 with a message.
extern "C" int hone_launch(void (*kernel)(const void *), const void *args, const unsigned *shape, int shared, int falling, char *text, int size) {
	static std::mutex one;
	std::lock_guard<std::mutex> held(one);
	threadIdx = Dim3{0, 0, 0};
	gridDim = Dim3{shape[0], shape[1], shape[2]};
	blockDim = Dim3{shape[3], 1, 1};
	threads = (int)shape[3];
	body = kernel;
	arguments = args;
	if (threads < 1 || threads > MOST || shared > HONE_DYNAMIC_SHARED) {
		snprintf(text, size, "%d threads and %d bytes of shared memory", threads, shared);
		return 1;
	}
	struct sigaction catcher;
	memset(&catcher, 0, sizeof catcher);
	catcher.sa_sigaction = on_fault;
	catcher.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigaction(SIGSEGV, &catcher, &old_segv);
	sigaction(SIGBUS, &catcher, &old_bus);
	int failed = 0;
	shared_bytes = shared;
	if (int why = sigsetjmp(escape, 1); why == 2) {
		snprintf(text, size, "thread %d of block %u %u %u: %s", running, blockIdx.x, blockIdx.y, blockIdx.z, trouble);
		failed = 1;
	} else if (why) {
		snprintf(text, size, "thread %d of block %u %u %u touches %p, which is outside every buffer", running, blockIdx.x, blockIdx.y, blockIdx.z, faulted);
		failed = 1;
	} else {
		inside = true;
		if (!grid(shared, falling)) {
			snprintf(text, size, "in block %u %u %u %s", blockIdx.x, blockIdx.y, blockIdx.z, trouble);
			failed = 1;
		}
	}
	inside = false;
	sigaction(SIGSEGV, &old_segv, 0);
	sigaction(SIGBUS, &old_bus, 0);
	return failed;
}

// Product is the twin of the driver's gemm in Go, with the library's loops as plainly as can be.
struct Product {
	const void *a, *b;
	void *c;
	const void *bias;
	long m, n, k, lda, ldb, ldc, trans_a, trans_b, half, half_c, accumulate, batch, stride_a, stride_b, stride_c;
	float scale;
};

static float number(const void *p, long i, long half) {
	return half ? __uint_as_float((unsigned)((const unsigned short *)p)[i] << 16) : ((const float *)p)[i];
}

extern "C" void hone_product(const Product *p) {
	for (long s = 0; s < p->batch; s++)
		for (long i = 0; i < p->m; i++)
			for (long j = 0; j < p->n; j++) {
				float sum = 0;
				for (long k = 0; k < p->k; k++)
					sum += number(p->a, s * p->stride_a + (p->trans_a ? k * p->lda + i : i * p->lda + k), p->half) *
					       number(p->b, s * p->stride_b + (p->trans_b ? j * p->ldb + k : k * p->ldb + j), p->half);
				sum *= p->scale;
				long at = s * p->stride_c + i * p->ldc + j;
				if (p->accumulate) sum += number(p->c, at, p->half_c);
				if (p->bias) sum += number(p->bias, j, p->half_c);
				if (!p->half_c) {
					((float *)p->c)[at] = sum;
					continue;
				}
				unsigned b = __float_as_uint(sum);
				((unsigned short *)p->c)[at] = sum != sum ? 0x7fff : (unsigned short)((b + 0x7fff + (b >> 16 & 1)) >> 16);
			}
}
