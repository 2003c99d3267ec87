package reward

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// program is an executable that is started for each batch of answers. It reads a JSON object a line, with prompt,
// answer, tokens and ended, until its input ends, and prints a line for each: a number, or an object with score.
type program struct {
	args   []string
	o      Options
	linger time.Duration // that a child of the program may hold its output open after it
}

// Score implements Source. A try that fails is repeated; the error is that of the last one.
func (p *program) Score(ctx context.Context, answers []Answer) ([]float64, error) {
	var scores []float64
	var err error
	for try := range p.o.Retries + 1 {
		if try > 0 { // what failed may be a service behind the program, which is given time, a little more with each try
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(try) * 100 * time.Millisecond):
			}
		}
		if scores, err = p.once(ctx, answers); err == nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		times := ""
		if p.o.Retries > 0 {
			times = fmt.Sprintf(" (tried %d times)", p.o.Retries+1)
		}
		return nil, fmt.Errorf("reward program %s %w%s; repair it and go on with resume=true", p.args[0], err, times)
	}
	return scores, nil
}

// Bounds on what comes from a program.
const (
	mostLine   = 1 << 16 // bytes of the line for one answer
	mostErrors = 512     // bytes of its complaints that are shown
)

// once starts the program and hears it out. It is fed while its scores are read, so neither waits for the
// other, in whatever order the program reads and prints. What it printed counts when it has ended, also where
// a service that it started holds its output open.
func (p *program) once(ctx context.Context, answers []Answer) ([]float64, error) {
	var in bytes.Buffer
	for _, a := range answers {
		text, err := line(a)
		if err != nil {
			return nil, err
		}
		in.Write(text)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if p.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.o.Timeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	together(cmd)
	cmd.WaitDelay = p.linger
	complaints := &tail{}
	// Not by StdoutPipe, which ends with the last process that holds it: Wait closes this one soon after the
	// program's own end.
	printed, stdout := io.Pipe()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, stdout, complaints
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("does not start: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		stdout.Close()
		ended <- err
	}()
	scores, readErr := readScores(printed, len(answers))
	if readErr != nil {
		stop() // it may go on printing for ever
		printed.Close()
	}
	err := <-ended
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && (readErr != nil || err != nil):
		// else it had ended before, and its service was waited for
		return nil, fmt.Errorf("has not answered after %v", p.o.Timeout)
	case readErr != nil:
		return nil, readErr
	case err != nil:
		return nil, fmt.Errorf("ended with %v: %s", err, complaints)
	}
	return scores, check(scores, len(answers))
}

// readScores reads a number for each answer.
func readScores(r io.Reader, answers int) (scores []float64, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, mostLine)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		if len(scores) == answers { // not left to the end: a program that prints without end would fill the memory
			return scores, fmt.Errorf("prints more than the %d scores it was asked for", answers)
		}
		s, err := score(text)
		if err != nil {
			return scores, fmt.Errorf("printed %.80q for answer %d, which is neither a number nor an object with score",
				text, len(scores)+1)
		}
		scores = append(scores, s)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return scores, fmt.Errorf("prints a line of more than %d bytes for answer %d, which is no score", mostLine, len(scores)+1)
	}
	return scores, lines.Err()
}

// score reads a line: a number, or an object with one under score, beside which there may be more.
func score(text string) (float64, error) {
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		return s, nil
	}
	var object struct{ Score *float64 }
	if err := json.Unmarshal([]byte(text), &object); err != nil || object.Score == nil {
		return math.NaN(), errors.New("no score")
	}
	return *object.Score, nil
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - mostErrors; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	if s := strings.TrimSpace(string(t.text)); s != "" {
		return s
	}
	return "it said nothing"
}
