package nn

// Arrange lets the device keep the weights of m's linear layers and head in the order in which it multiplies
// by them fastest. It freezes them for good: it is for a model that only generates.
func Arrange(m Model) {
	for _, layer := range Layers(m) {
		if r, ok := layer.Adapted().(WeightReader); ok && r.ReadsWeight() { // as DoRA does, which an arranged weight cannot serve
			continue
		}
		weight, _ := layer.Parameters()
		weight.Arrange(!layer.InFirst())
	}
	m.Head().Weight.Arrange(true)
}

// ArrangeBeside is Arrange for a while in which the model only generates: its weights stay, and the device
// has a copy in its order until done is called. It panics, as any allocation does, when the device is
// full, with nothing left behind.
func ArrangeBeside(m Model) (done func()) {
	var copies []func()
	done = func() {
		for _, free := range copies {
			free()
		}
		copies = nil
	}
	whole := false
	defer func() {
		if !whole {
			done()
		}
	}()
	if v, ok := m.(*Virtual); ok {
		m = v.Model
	}
	for _, layer := range Layers(m) {
		weight, _ := layer.Parameters()
		copies = append(copies, weight.ArrangeBeside(!layer.InFirst()))
	}
	copies = append(copies, m.Head().Weight.ArrangeBeside(true))
	whole = true
	return done
}
