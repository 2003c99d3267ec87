package inference

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// ignored is the label of a token that is not learned.
const ignored = -100

// Logits is hone logits, by which a model is compared with another implementation of it.
func Logits(a *cli.App) *cobra.Command {
	c, flags := logitsSettings{}, &loaded.Flags{}
	cmd := &cobra.Command{
		Use:   "logits MODEL --ids FILE.json --out FILE.safetensors",
		Short: "Write a model's logits, loss and gradients for given tokens",
		Long: "Runs a model on a batch of tokens and writes what it computes, to be compared with another implementation.\n\n" +
			"FILE.json holds {\"input_ids\": [[...]], \"labels\": [[...]]}, all rows of one length. The label of position t is compared with the\n" +
			"prediction of position t-1; -100 is ignored; without labels the tokens themselves are the labels.\n\n" +
			"The safetensors file gets logits [B, T, V], loss [], the mean over the labels, and with --grads grad.NAME for every parameter, named as in\n" +
			"the checkpoint (an adapter's as PEFT names them); all f32.",
		Example: "  hone logits runs/first/model --ids batch.json --grads --out ours.safetensors",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.run(cmd.Context(), args[0], flags)
			if err != nil {
				return err
			}
			if a.JSON && r.Loss != nil && notFinite(float32(*r.Loss)) {
				r.Loss = nil // JSON has no NaN; the file does
			}
			return a.Result(r, func(w io.Writer) {
				fmt.Fprintf(w, "logits  %v\n", r.Shape)
				if r.Loss != nil {
					fmt.Fprintf(w, "loss    %.7g over %d labels\n", *r.Loss, r.Labels)
				}
				fmt.Fprintf(w, "file    %s (%d tensors)\n", r.Out, r.Tensors)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.ids, "ids", "", "the tokens, as JSON")
	f.StringVar(&c.out, "out", "", "the safetensors file to write")
	f.BoolVar(&c.grads, "grads", false, "write the gradient of the loss for every parameter")
	flags.Add(cmd)
	return cmd
}

type logitsSettings struct {
	ids, out string
	grads    bool
}

// logitsResult is what hone logits prints.
type logitsResult struct {
	Out     string   `json:"out"`
	Shape   [3]int   `json:"shape"`  // of the logits: B, T, V
	Loss    *float64 `json:"loss"`   // null when no label can be predicted, or it is not finite
	Labels  int      `json:"labels"` // that the loss is the mean over
	Tensors int      `json:"tensors"`
}

// run reads all input before the model is opened, so that a mistake in it costs no time.
func (c logitsSettings) run(ctx context.Context, dir string, flags *loaded.Flags) (*logitsResult, error) {
	if c.ids == "" || c.out == "" {
		return nil, errors.New("name the tokens by --ids FILE.json and the result by --out FILE.safetensors")
	}
	b, err := readTokenBatch(c.ids)
	if err != nil {
		return nil, fmt.Errorf("read tokens %s: %w", c.ids, err)
	}
	if sameFile(c.ids, c.out) {
		return nil, fmt.Errorf("--out is %s, which holds the tokens; name another file", c.out)
	}
	if c.grads && len(flags.Adapters) > 1 { // their parameters have the same names
		return nil, errors.New("--grads is of one adapter; name one by --adapter")
	}
	// A pass cannot be stopped half way. It writes no file, so that leaving it leaves nothing.
	p, err := cli.Promptly(ctx, func() (*logitsPass, error) { return c.compute(dir, flags, b) })
	if err != nil {
		return nil, err
	}
	defer p.free()
	return c.write(ctx, p, b)
}

// logitsPass is a model after a pass.
type logitsPass struct {
	model  *loaded.Model
	tape   *tensor.Tape
	logits []float32  // [B*T*V]
	loss   []float32  // one number; nil when there is nothing to predict
	params []nn.Named // those whose gradients are asked for
}

func (p *logitsPass) free() {
	if p.tape != nil {
		p.tape.Reset()
	}
	p.model.Close()
}

// compute opens the model and runs the pass.
func (c logitsSettings) compute(dir string, flags *loaded.Flags, b *tokenBatch) (_ *logitsPass, err error) {
	m, err := flags.Open(dir)
	if err != nil {
		return nil, err
	}
	p := &logitsPass{model: m}
	defer func() {
		if err != nil {
			p.free()
		}
	}()
	if err := b.check(m.Model.Shape()); err != nil {
		return nil, fmt.Errorf("read tokens %s: %w", c.ids, err)
	}
	if c.grads && b.supervised == 0 {
		return nil, fmt.Errorf("read tokens %s: no label can be predicted, so there is no gradient; the first label of a row has no position before it", c.ids)
	}
	if m.Adapter != nil && c.grads { // an adapter freezes its base, whose gradients are asked for here
		for _, p := range m.Model.Params {
			p.Thaw()
		}
	}
	p.tape = tensor.NewTape(m.Dev, m.DType)
	logits, loss, err := b.forward(m, p.tape, c.grads)
	if err != nil {
		return nil, err
	}
	if p.logits, err = logits.Float32s(); err != nil { // read now, for the backward pass frees it
		return nil, err
	}
	if loss == nil {
		return p, nil
	}
	if p.loss, err = loss.Float32s(); err != nil || !c.grads {
		return p, err
	}
	p.params = parameters(m)
	return p, tensor.Try(func() { p.tape.Backward(loss) })
}

// write puts the results of the pass into the file, one tensor at a time.
func (c logitsSettings) write(ctx context.Context, p *logitsPass, b *tokenBatch) (*logitsResult, error) {
	r := &logitsResult{Out: c.out, Shape: [3]int{b.rows, b.length, p.model.Model.Shape().Vocab}, Labels: b.supervised}
	plan := []safetensors.Info{{Name: "logits", DType: safetensors.F32, Shape: r.Shape[:]}}
	if p.loss != nil {
		plan = append(plan, safetensors.Info{Name: "loss", DType: safetensors.F32, Shape: []int{}})
		value := float64(p.loss[0])
		r.Loss = &value
	}
	for _, q := range p.params {
		plan = append(plan, safetensors.Info{Name: "grad." + p.model.Model.CheckpointName(q), DType: safetensors.F32, Shape: q.Shape})
	}
	w, err := safetensors.Create(c.out, plan, map[string]string{"format": "pt"})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if err := w.WriteFloat32("logits", p.logits); err != nil {
		return nil, err
	}
	if p.loss != nil {
		if err := w.WriteFloat32("loss", p.loss); err != nil {
			return nil, err
		}
	}
	for _, q := range p.params {
		v, err := q.GradFloat32s()
		if err = errors.Join(ctx.Err(), err); err == nil {
			err = w.WriteFloat32("grad."+p.model.Model.CheckpointName(q), v)
		}
		if err != nil {
			return nil, err
		}
		q.FreeGrad()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Tensors = len(plan)
	return r, w.Commit()
}

// parameters are all of the model's and of its adapter's. What an adapter trains of its base goes by the adapter's name.
func parameters(m *loaded.Model) []nn.Named {
	if m.Adapter == nil {
		return m.Model.Params
	}
	// PEFT names what an adapter trains of its base otherwise than the checkpoint does; one parameter is told by one name.
	list := m.Adapter.Params()
	for _, p := range m.Model.Params {
		if !slices.ContainsFunc(list, func(q nn.Named) bool { return q.Param == p.Param }) {
			list = append(list, p)
		}
	}
	return list
}

// tokenBatch is rows sequences of length tokens.
type tokenBatch struct {
	InputIDs [][]int32 `json:"input_ids"`
	Labels   [][]int32 `json:"labels"`

	rows, length, supervised         int
	ids, targets, positions, offsets []int32 // as nn.NewInput takes them, targets shifted
}

// readTokenBatch reads and checks what needs no model.
func readTokenBatch(path string) (*tokenBatch, error) {
	text, err := cli.ReadFile(path)
	if err != nil {
		return nil, cli.NotRead(path, `{"input_ids": [[...]]}`, err)
	}
	b := &tokenBatch{}
	if err := decodeStrictly(text, b); err != nil {
		return nil, err
	}
	given := b.Labels != nil
	if !given {
		b.Labels = b.InputIDs
	}
	if b.rows = len(b.InputIDs); b.rows == 0 || len(b.InputIDs[0]) == 0 {
		return nil, errors.New("input_ids is empty; give at least one row with one token")
	}
	b.length = len(b.InputIDs[0])
	if len(b.Labels) != b.rows {
		return nil, fmt.Errorf("labels has %d rows and input_ids has %d; give a label for every token", len(b.Labels), b.rows)
	}
	for i, row := range b.InputIDs {
		if len(row) != b.length {
			return nil, fmt.Errorf("input_ids[%d] has %d tokens and input_ids[0] has %d; rows must be of one length, so run rows of other lengths by themselves",
				i, len(row), b.length)
		}
		if len(b.Labels[i]) != b.length {
			return nil, fmt.Errorf("labels[%d] has %d entries for %d tokens", i, len(b.Labels[i]), b.length)
		}
		b.addRow(i)
	}
	if given && b.supervised == 0 {
		return nil, errors.New("no label can be predicted: all are -100 or first in their row; leave labels out to learn all tokens")
	}
	return b, nil
}

// addRow appends a row, its labels shifted by one. Labels of -100 and the last position have no target.
func (b *tokenBatch) addRow(i int) {
	b.offsets = append(b.offsets, int32(i*b.length))
	if i == b.rows-1 {
		b.offsets = append(b.offsets, int32(b.rows*b.length))
	}
	b.ids = append(b.ids, b.InputIDs[i]...)
	for t := range b.length {
		// the shift of labels: position t predicts label t+1, and the last one nothing
		target := int32(ignored)
		if t+1 < b.length {
			target = b.Labels[i][t+1]
		}
		if target != ignored {
			b.supervised++
		}
		b.positions, b.targets = append(b.positions, int32(t)), append(b.targets, target)
	}
}

// check compares the tokens with a model's sizes.
func (b *tokenBatch) check(s nn.Shape) error {
	if s.MaxPositions > 0 && b.length > s.MaxPositions {
		return fmt.Errorf("rows have %d tokens and the model reads %d; shorten them", b.length, s.MaxPositions)
	}
	for i := range b.InputIDs {
		for t, id := range b.InputIDs[i] {
			if id < 0 || int(id) >= s.Vocab {
				return fmt.Errorf("input_ids[%d][%d] is %d; the model's vocabulary is 0 to %d", i, t, id, s.Vocab-1)
			}
			if label := b.Labels[i][t]; label != ignored && (label < 0 || int(label) >= s.Vocab) {
				return fmt.Errorf("labels[%d][%d] is %d; the model's vocabulary is 0 to %d, and -100 is ignored", i, t, label, s.Vocab-1)
			}
		}
	}
	return nil
}

// forward runs the model: logits [B*T, V] and the loss, which is nil when there is nothing to predict.
func (b *tokenBatch) forward(m *loaded.Model, tape *tensor.Tape, record bool) (logits, loss *tensor.Tensor, err error) {
	err = tensor.Try(func() {
		if record {
			tape.Differentiate()
		} else {
			tape.Infer()
		}
		in := nn.NewInput(tape, b.ids, b.positions, b.offsets).Balanced(m.Model)
		h := m.Model.Hidden(in)
		if logits = nn.Logits(m.Model, h, nil); b.supervised > 0 {
			loss = tensor.LinearCrossEntropy(h, m.Model.Head(), tape.Ints(b.targets), tensor.CrossEntropyOptions{Tokens: b.supervised})
			loss, _ = in.AddBalance(m.Model, loss, 1)
		}
	})
	return logits, loss, err
}

// decodeStrictly reads one JSON object and refuses keys that v does not have.
func decodeStrictly(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file is empty or cut short; give one JSON object")
	}
	if err != nil {
		return cli.JSONError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is something behind the JSON object")
	}
	return nil
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// notFinite is so of what no sound model computes.
func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
