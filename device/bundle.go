package device

// Bundler is a device for which many calls cost less when it knows of them together. It is optional: see Bundle.
type Bundler interface {
	// Bundle runs f. What f asks of the device may begin as late as when f is done, or waits for a result.
	Bundle(f func())
}

// Bundle runs f, which asks d for many small things, such as the pass of a token. It is for what is asked for while d has others to do, since
// none of it may begin before all is asked for.
func Bundle(d Device, f func()) {
	if b, ok := d.(Bundler); ok {
		b.Bundle(f)
		return
	}
	f()
}
