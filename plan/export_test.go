package plan

// CountFLOPs counts what run asks a device for.
func CountFLOPs(run func(*Device)) FLOPs {
	d := NewDevice()
	run(d)
	return d.work.FLOPs()
}
