// Products of warpgroups, as PTX has them for sm_90a alone: four warps, one after the other from a multiple of four on, multiply
// 64 rows of bf16 by a tile in shared memory, which the tensor cores read by themselves while the warps go on; sums in f32.
// testdata/emulator/emulated.h has them for the host.
//
// A tile of D columns, a multiple of 64, lies in panels of 64 columns one after the other, each with rows of 128 bytes whose
// chunks of 16 change places as in at<64> (PTX ISA, "Shared memory matrix layout", 128-byte swizzling), from a multiple of 1024
// bytes on. The sums c[N/8][4] and a[4] are in registers as mma has them for a warp, which has rows 16·(warp%4) on.

#ifndef HONE_EMULATED

#define SUMS_4(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define SUMS_32(i) SUMS_4(i), SUMS_4(i + 1), SUMS_4(i + 2), SUMS_4(i + 3), SUMS_4(i + 4), SUMS_4(i + 5), SUMS_4(i + 6), SUMS_4(i + 7)
#define NAMES_32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_64 NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

template <bool ROWS> __device__ __forceinline__ void warpgroup_mma(float (&c)[8][4], u64 a, u64 b, bool add) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
	             "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" NAMES_32 "}, %32, %33, p, 1, 1, 0, %35;\n}"
	             : SUMS_32(0)
	             : "l"(a), "l"(b), "r"((int)add), "n"(ROWS ? 1 : 0));
}

template <bool ROWS> __device__ __forceinline__ void warpgroup_mma(float (&c)[8][4], const u32 (&a)[4], u64 b, bool add) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
	             "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" NAMES_32 "}, {%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
	             : SUMS_32(0)
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)add), "n"(ROWS ? 1 : 0));
}

template <bool ROWS> __device__ __forceinline__ void warpgroup_mma(float (&c)[16][4], u64 a, u64 b, bool add) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
	             "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES_64 "}, %64, %65, p, 1, 1, 0, %67;\n}"
	             : SUMS_32(0), SUMS_32(8)
	             : "l"(a), "l"(b), "r"((int)add), "n"(ROWS ? 1 : 0));
}

template <bool ROWS> __device__ __forceinline__ void warpgroup_mma(float (&c)[16][4], const u32 (&a)[4], u64 b, bool add) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
	             "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES_64 "}, {%64,%65,%66,%67}, %68, p, 1, 1, %70;\n}"
	             : SUMS_32(0), SUMS_32(8)
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)add), "n"(ROWS ? 1 : 0));
}

// warpgroup_begin stands before the first product of those that registers or shared memory were changed for.
__device__ __forceinline__ void warpgroup_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// warpgroup_commit makes a group of the products since the last one; warpgroup_wait waits for all groups but the last ones.
__device__ __forceinline__ void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int GROUPS> __device__ __forceinline__ void warpgroup_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GROUPS) : "memory"); }

// warpgroup_wait_after waits when x has been computed, which is not negative. The compiler puts other waits before all that does not
// need the products, so that it is not computed while they go on; it does not before what may be a write.
template <int GROUPS> __device__ __forceinline__ void warpgroup_wait_after(float x) {
	DYNAMIC_SHARED(float, never);
	asm volatile("{\n.reg .pred p;\nsetp.eq.s32 p, %0, 0x80000001;\n@p st.volatile.shared.u32 [%1], %0;\n}" ::"r"(__float_as_uint(x)), "r"(shared_address(never)) : "memory");
	warpgroup_wait<GROUPS>();
}

// show_tensor_cores makes this thread's writes to shared memory, and its copies that it waited for, visible to products.
__device__ __forceinline__ void show_tensor_cores() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// settle keeps the compiler from moving what is done with the sums, or with the rows a, to before a wait for their product.
template <int N> __device__ __forceinline__ void settle(float (&c)[N][4]) {
#pragma unroll
	for (int n = 0; n < N; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}
template <int N> __device__ __forceinline__ void settle(u32 (&a)[N][4]) {
#pragma unroll
	for (int n = 0; n < N; n++) asm volatile("" : "+r"(a[n][0]), "+r"(a[n][1]), "+r"(a[n][2]), "+r"(a[n][3])::"memory");
}

// max_fast is max_nan.
__device__ __forceinline__ float max_fast(float a, float b) {
	float r;
	asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
	return r;
}

// A meeting, in shared memory, is a barrier of so many threads that say when they are there and wait later: what a thread does
// between holds nobody up. Phases are counted from 0.
__device__ __forceinline__ void meeting_begin(u64 *m, int threads) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(m)), "r"(threads) : "memory"); }
__device__ __forceinline__ void meeting_arrive(u64 *m) {
	asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(shared_address(m)) : "memory");
}
__device__ __forceinline__ void meeting_wait(u64 *m, int phase) {
	asm volatile("{\n.reg .pred over;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n@!over bra AGAIN;\n}" ::"r"(shared_address(m)), "r"(phase & 1) : "memory");
}

// more_registers and fewer_registers change how many this warpgroup's threads have, a multiple of 8, out of those of the block.
template <int N> __device__ __forceinline__ void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> __device__ __forceinline__ void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
#else
__device__ __forceinline__ float max_fast(float a, float b) { return max_nan(a, b); }
#endif

// operand describes a tile in shared memory, from row and column on that p points to; panel is the distance in bytes of its panels.
__device__ __forceinline__ u64 operand(const u16 *p, int panel) {
	return (u64)(shared_address(p) >> 4 & 0x3fff) | (u64)(panel >> 4) << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62;
}
__device__ __forceinline__ u64 moved(u64 operand, int bytes) { return operand + (bytes >> 4); }
