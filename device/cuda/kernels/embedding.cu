// Rows of tables: embeddings and their gradient.

struct EmbeddingArgs {
	Floats y, table; // [n, c], [v, c]
	const int *ids;  // [n]
	Failure *failure;
	i64 n;
	int c, v, quads;
};

KERNEL(embedding, 256, EmbeddingArgs) {
	i64 at = (i64)blockIdx.x * 256 + threadIdx.x;
	i64 row = at / a.quads;
	int c = (int)(at - row * a.quads) * 4;
	if (row >= a.n) return;
	int id = a.ids[row];
	if (id < 0 || id >= a.v) {
		a.failure->code = 3;
		return;
	}
	float x[4];
	load4(from(a.table, (i64)id * a.c), c, a.c, x);
	store4(from(a.y, row * a.c), c, a.c, x);
}

struct EmbeddingGradArgs {
	float *dtable; // [v, c]
	Floats dy;     // [n, c]
	// Rows of dy sorted by their id, stably: those of ids[u] are order[starts[u]] to order[starts[u+1]-1].
	const int *order, *starts, *ids;
	int c;
};

// embedding_grad gives an id to a block, which adds its rows in their order.
KERNEL(embedding_grad, 128, EmbeddingGradArgs) {
	int u = blockIdx.x, c = blockIdx.y * 128 + threadIdx.x;
	if (c >= a.c) return;
	i64 to = (i64)a.ids[u] * a.c + c;
	float sum = a.dtable[to];
	for (int j = a.starts[u]; j < a.starts[u + 1]; j++) sum += load(a.dy, (i64)a.order[j] * a.c + c);
	a.dtable[to] = sum;
}
