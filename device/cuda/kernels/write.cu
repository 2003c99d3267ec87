// What the host writes, where it is so little that it goes to the card with the launch.

#define WRITTEN 2048

struct WriteArgs {
	u8 *to;
	int n, unused;
	u8 bytes[WRITTEN];
};

KERNEL(write_bytes, 256, WriteArgs) {
	for (int i = threadIdx.x; i < a.n; i += 256) a.to[i] = a.bytes[i];
}
