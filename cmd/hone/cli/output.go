package cli

import "os"

// Output is an output that remembers its first failure, because callers of fmt.Fprint do not look at its error. The file is a field and not
// embedded: its own WriteString and ReadFrom would go past Write.
type Output struct {
	File *os.File
	Err  error
}

// Write implements io.Writer.
func (c *Output) Write(p []byte) (int, error) {
	n, err := c.File.Write(p)
	if c.Err == nil {
		c.Err = err
	}
	return n, err
}

// Fd is that of the file, by which a terminal is told.
func (c *Output) Fd() uintptr { return c.File.Fd() }
