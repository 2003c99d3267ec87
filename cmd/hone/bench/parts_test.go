package bench

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/cuda"
	"hone/generate"
	"hone/model"
	"hone/nn"
	"hone/plan"
)

// TestWorkloadsAreTheModels that their names say: by the numbers of parameters that their makers publish.
func TestWorkloadsAreTheModels(t *testing.T) {
	for name, want := range map[string]float64{"W1_babygpt": 10.8e6, "W2_gpt2_124m": 124.4e6, "gpt2_124m": 124.4e6, "llama1b_full": 1.236e9, "llama8b_lora": 8.03e9, "llama70b_qlora": 70.55e9,
		"W3_smollm135m_full": 134.5e6, "W3_smollm135m_frozen": 134.5e6, "W3_smollm135m_lora16": 134.5e6, "W3_smollm135m_qlora16": 134.5e6} {
		w, ok := workloads[name]
		if !ok {
			t.Errorf("there is no workload %s", name)
			continue
		}
		m, err := model.Declare([]byte(w.config), plan.NewDevice())
		if err != nil {
			t.Fatal(name, err)
		}
		params := 0.0
		for _, p := range m.Params {
			params += float64(p.Len())
		}
		if math.Abs(params/want-1) > 0.01 || w.t > m.Shape().MaxPositions || w.batch < 1 {
			t.Errorf("%s has %.4g parameters, want %.4g; %d sequences of %d", name, params, want, w.batch, w.t)
		}
		if got := w.floor || w.rank > 0 || w.packing != device.Unpacked; got != (strings.Contains(name, "lora") || strings.Contains(name, "frozen")) {
			t.Errorf("%s trains %+v", name, w)
		}
		if !strings.Contains(workloadNames(), name) {
			t.Errorf("%s is not listed", name)
		}
	}
	if len(workloads) != 10 {
		t.Errorf("there are %d workloads", len(workloads))
	}
	m, err := model.Declare([]byte(smollm), plan.NewDevice())
	if err != nil {
		t.Fatal(err)
	}
	first := firstNorm(m.Params)
	if len(first) != 1 || first[0].Len() != 576 {
		t.Errorf("the least that is trained is %v", first)
	}
}

// TestReadOfAToken: all weights but the table of an embedding that is no head.
func TestReadOfAToken(t *testing.T) {
	const config = `{"model_type":"llama","vocab_size":100,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":16,"tie_word_embeddings":%}`
	const layers = 4*8*8 + 3*8*16 + 3*8 // of attention, feed-forward and norms
	for tied, want := range map[string]float64{"true": layers + 800, "false": layers + 800} {
		dev := plan.NewDevice()
		m, err := model.Declare([]byte(strings.Replace(config, "%", tied, 1)), dev)
		if err != nil {
			t.Fatal(err)
		}
		m.Alloc(device.F32, model.Packed{})
		if got := 1e6 * readMB(m); math.Abs(got-4*want) > 1e-6 {
			t.Errorf("tied %s: a token reads %v bytes, want %v", tied, got, 4*want)
		}
	}
	a, b := randomPrompts(2, 50), randomPrompts(3, 50)
	if len(a) != 2 || len(a[0]) != promptTokens || a[1][7] != b[1][7] {
		t.Error("prompts differ from run to run")
	}
	for _, id := range b[2] {
		if id < 0 || id >= 50 {
			t.Fatalf("a prompt has the token %d of 50", id)
		}
	}
}

// TestPlanOfAGeneration: the memory that a generation is planned to take is what it takes, with weights that panels do not divide.
func TestPlanOfAGeneration(t *testing.T) {
	config := []byte(`{"model_type":"llama","vocab_size":101,"hidden_size":40,"intermediate_size":72,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":256}`)
	prompts := randomPrompts(2, 101)
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		want, _, err := planned(t.Context(), config, prompts, dtype, false)
		if err != nil {
			t.Fatal(err)
		}
		dev := cpu.New(cpu.Options{Threads: 1})
		defer dev.Close()
		m, err := model.New(config, dev, dtype, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		nn.Arrange(m.Model)
		dev.ResetPeak()
		opt := generate.DefaultOptions()
		opt.MaxNewTokens, opt.Temperature, opt.BatchSize = newTokens, 0, len(prompts)
		if _, err := generate.New(dev, dtype, m, nil).Run(t.Context(), prompts, opt, nil); err != nil {
			t.Fatal(err)
		}
		if got := dev.Memory().Peak; got != want {
			t.Errorf("%v: %d bytes are planned, %d taken", dtype, want, got)
		}
	}
}

// TestMadePages: the same for a seed, in families whose members are between half and wholly alike.
func TestMadePages(t *testing.T) {
	read := func(seed uint64) (texts []string) {
		for d, err := range madePages(40, seed) {
			if err != nil || d.Record != len(texts)+1 || d.Source != "made" {
				t.Fatalf("document %d of %s, %v", d.Record, d.Source, err)
			}
			texts = append(texts, string(d.Text))
		}
		return texts
	}
	one, again, other := read(1), read(1), read(2)
	if strings.Join(one, "\n") != strings.Join(again, "\n") || one[0] == other[0] || len(one) < 60 || len(one) > 160 {
		t.Errorf("%d and %d pages of one seed", len(one), len(again))
	}
	for range madePages(40, 1) { // a reader may stop
		break
	}
	seen := map[string]bool{}
	for rank := range uint64(20000) {
		w := madeWord(rank)
		if seen[w] || w == "" {
			t.Fatalf("word %d is %q, as another", rank, w)
		}
		seen[w] = true
	}
	r := rand.New(rand.NewPCG(1, 1))
	page := madePage(r)
	for _, share := range []float64{0, 0.2, 1} {
		differ := 0
		for i, w := range changed(r, page, share) {
			if w != page[i] {
				differ++
			}
		}
		if got := float64(differ) / float64(len(page)); math.Abs(got-share) > 0.12 {
			t.Errorf("a share of %v is changed, want %v", got, share)
		}
	}
}

// TestLoadIsMeasured beside reading the file, whose bytes are told.
func TestLoadIsMeasured(t *testing.T) {
	dir := t.TempDir()
	config := []byte(`{"model_type":"llama","vocab_size":64,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":16}`)
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.New(config, dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if err := m.Save(dir, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
	r := loadResult{Threads: 1}
	got, err := r.measure(dir, device.BF16, false, 2)
	info, statErr := os.Stat(filepath.Join(dir, "model.safetensors"))
	if err != nil || statErr != nil || got.DType != "bf16" || got.Cold || !(got.CatS > 0 && got.OpenS > 0) || got.Ratio != got.OpenS/got.CatS || r.GB != float64(info.Size())/1e9 {
		t.Errorf("%+v of %v GB, %v, %v", got, r.GB, err, statErr)
	}
	if _, err := r.measure(t.TempDir(), device.F32, false, 1); err == nil {
		t.Error("an empty folder is measured")
	}
	r.Loads = []loadRow{{Stored: "BF16", DType: "f32", CatS: 0.5, OpenS: 0.25, Ratio: 0.5}}
	var out bytes.Buffer
	r.table(&out)
	if got, want := squeezed(out.String()), []string{"stored on the device in memory cat open ratio", "BF16 f32 true 0.50 s 0.25 s 0.50"}; !equalLines(got, want) {
		t.Errorf("the table is %q", got)
	}
}

// TestBenchLines: one kernel a line, in GFLOP/s or GB/s, and the shares of a card's.
func TestBenchLines(t *testing.T) {
	var out bytes.Buffer
	for want, r := range map[string]kernelResult{"mm 2.000 ms 5 GFLOP/s": {Kernel: "mm", S: 0.002, GFLOPS: 5}, "copy 1.000 ms 7.5 GB/s": {Kernel: "copy", S: 0.001, GBS: 7.5}} {
		out.Reset()
		if r.line(&out); squeezed(out.String())[0] != want {
			t.Errorf("%q; want %q", out.String(), want)
		}
	}
	out.Reset()
	printKernels(&out, []cuda.KernelTime{{Name: "gemm", Seconds: 0.003, Calls: 30}, {Name: "norm", Seconds: 0.001, Calls: 10}})
	if got, want := squeezed(out.String()), []string{"75.0% 3.000 ms 30 calls 100.0 us gemm", "25.0% 1.000 ms 10 calls 100.0 us norm"}; !equalLines(got, want) {
		t.Errorf("the kernels are %q, want %q", got, want)
	}
	for want, r := range map[string]methodRow{"1.5000": {Loss: 1.5}, "2.0000": {Loss: 2, Losses: []float64{2}}, "2.0000 ± 0.5000": {Loss: 2, Losses: []float64{1.5, 2.25, 2}}} {
		if got := r.lossText(); got != want {
			t.Errorf("a loss is %q, want %q", got, want)
		}
	}
}

// TestMethodsInWords: the base in a row of its own, and the seeds' distance where there are several; half and twice the rates only where asked.
func TestMethodsInWords(t *testing.T) {
	var out bytes.Buffer
	printMethods(&out, []methodRow{{Method: "lora", Rate: 1e-2, Before: 3, Loss: 2, Losses: []float64{1.5, 2.5}, Trainable: 7, SPerStep: 0.25, PeakBytes: 1 << 20, PlannedPeak: 2 << 20}})
	want := []string{"| method | learning rate | held-out loss | trained parameters | s/step | peak memory | planned |", "|---|---|---|---|---|---|---|", "| none | | 3.0000 | | | | |",
		"| lora | 0.01 | 2.0000 ± 0.5000 | 7 | 0.250 | 1.0 MiB | 2.0 MiB |"}
	if got := squeezed(out.String()); !equalLines(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if once, sweep := (&methodsBench{}).factors(), (&methodsBench{sweep: true}).factors(); len(once) != 1 || once[0] != 1 || len(sweep) != 3 || sweep[0] != 1 || sweep[1]*sweep[2] != 1 {
		t.Errorf("factors %v and %v", once, sweep)
	}
}

// squeezed are lines without the space that columns need.
func squeezed(text string) (lines []string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func equalLines(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }
