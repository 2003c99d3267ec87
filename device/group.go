package device

// Grouper is a device that computes several products in one go. It is optional: see MatMuls.
type Grouper interface {
	// MatMuls computes products, none of which reads what another writes.
	MatMuls(products []MatMul)
}

// MatMuls computes products on d, none of which reads what another writes: side by side, where d can.
func MatMuls(d Device, products []MatMul) {
	if g, ok := d.(Grouper); ok {
		g.MatMuls(products)
		return
	}
	for _, m := range products {
		d.MatMul(m)
	}
}
