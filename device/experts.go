package device

// Route picks the experts of N rows from their E logits each: the K largest, the lower one first among equals, NaN before
// all others. Weights are the softmax of the picked logits, which is the softmax over all experts made to sum to 1 over
// the picked ones (Jiang et al., "Mixtral of Experts", 2024, section 2.1).
type Route struct {
	E, K    int
	Logits  Buffer // [N, E]
	Index   Buffer // I32 [N, K], in falling order of the logits
	Weights Buffer // F32 [N, K]
	ProbSum Buffer // F32 [E], optional: the sum over the rows of the softmax over all experts
}

// RouteGrad is the gradient of Route, whose Index and Weights are those of the forward pass; it overwrites DLogits.
// With w the weights of a row and p its softmax over all experts, DLogits[n, e] is
//
//	w[i]·(DWeights[n, i] - Σ w·DWeights[n]) where e is picked as i-th, + p[e]·(DProbSum[e] - Σ p·DProbSum)
type RouteGrad struct {
	Route
	DLogits  Buffer // [N, E]
	DWeights Buffer // F32 [N, K]
	DProbSum Buffer // F32 [E], optional
}

// Combine adds rows of X up: Y[n] = Σ Weights[n, i]·X[Index[n, i]], in order of i.
type Combine struct {
	C, K    int
	Y       Buffer // [N, C]
	X       Buffer // [M, C]
	Index   Buffer // I32 [N, K]
	Weights Buffer // F32 [N, K], optional (1 when absent)
}

// CombineGrad is the gradient of Combine, for an Index that names no row twice:
// DX[Index[n, i]] = Weights[n, i]·DY[n] and DWeights[n, i] = DY[n]·X[Index[n, i]].
// It overwrites; rows of DX that Index does not name are left as they are. Y is not read.
type CombineGrad struct {
	Combine
	DY       Buffer // [N, C]
	DX       Buffer // [M, C]
	DWeights Buffer // F32 [N, K], optional
}
