// What the host writes, where it is so little that it goes to the card with the launch.

#define WRITTEN 2048
#define PLACES 4

struct WriteArgs {
	u8 *to[PLACES];
	int begins[PLACES], ends[PLACES]; // of the bytes that go to each place
	int count, unused;
	u8 bytes[WRITTEN];
};

KERNEL(write_bytes, 256, WriteArgs) {
	for (int p = 0; p < a.count; p++)
		for (int i = a.begins[p] + threadIdx.x; i < a.ends[p]; i += 256) a.to[p][i - a.begins[p]] = a.bytes[i];
}
