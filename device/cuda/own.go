package cuda

// OwnBytes is what a Device takes of a card beside buffers and the driver's context, at most: the workspace of cuBLASLt, where what the host writes lands,
// and what is committed ahead of small and of large buffers. Scratch of kernels, which goes with sizes, comes on top.
const OwnBytes = workspaceBytes + smallPiece*smallPieces + largePiece*largePieces + 2*commitStep

// PagedBytes is what comes on top where optimizer state is paged: the parts of it that are on the card.
const PagedBytes = pagedSlots * pagedPart * pagedBytes

// Products by NF4 weights unpack them on the way with FewUnpackedRows at most in X·Wᵀ, and in all of MostUnpackedRows at most that have LeastUnpackedColumns.
const (
	FewUnpackedRows      = mostFewRows
	MostUnpackedRows     = mostUnpackedRows
	LeastUnpackedColumns = leastUnpackedColumns
)
