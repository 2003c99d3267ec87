package train

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"hone/internal/atomicfile"
)

// Metrics is the file metrics.jsonl of a run, open for appending. A line is in the
// file when Append returns.
type Metrics struct {
	file      *os.File
	path      string
	tell      func(Event)
	evaluated *EvalEvent
}

// OpenMetrics opens or makes the file at path and drops every event after step, so that a
// run that goes on from a checkpoint never holds a step twice, and a last line that
// was cut off. With step 0 the file starts empty. tell is called with every event that is
// appended; it may be nil.
func OpenMetrics(path string, step int, tell func(Event)) (*Metrics, error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("metrics of the run: %w", err)
	}
	kept, evaluated := keepUntil(old, step)
	// here err can only say that there is no file; then an empty one is made, so that what follows only appends
	if err != nil || len(kept) != len(old) {
		if err := atomicfile.WriteFile(path, kept); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("metrics of the run: %w", err)
	}
	if tell == nil {
		tell = func(Event) {}
	}
	return &Metrics{f, path, tell, evaluated}, nil
}

// Evaluated is the last evaluation that the file held when it was opened; nil without one.
func (m *Metrics) Evaluated() *EvalEvent { return m.evaluated }

// keepUntil returns the whole, readable lines of events that happened up to step, and the last evaluation in them.
func keepUntil(lines []byte, step int) (kept []byte, evaluated *EvalEvent) {
	if step <= 0 {
		return nil, nil
	}
	for line := range bytes.Lines(lines) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		e, err := unmarshalEvent(line)
		if err != nil || e == nil || e.At() > step {
			continue
		}
		if e, ok := e.(EvalEvent); ok {
			evaluated = &e
		}
		kept = append(kept, line...)
	}
	return kept, evaluated
}

// Append adds an event to the file and tells of it.
func (m *Metrics) Append(e Event) error {
	line, err := marshalEvent(e)
	if err != nil {
		return fmt.Errorf("write %s: %w", m.path, err)
	}
	if _, err := m.file.Write(line); err != nil {
		return fmt.Errorf("metrics of the run: %w; free some space and go on with resume=true", err)
	}
	m.tell(e)
	return nil
}

// Sync puts what was appended on the disk.
func (m *Metrics) Sync() error {
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("metrics of the run: %w", err)
	}
	return nil
}

// Close closes the file.
func (m *Metrics) Close() error { return m.file.Close() }
