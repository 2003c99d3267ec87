// Package classifier trains and applies a classifier of texts by their words and word pairs: a filter for quality, or for whatever the examples have
// in common.
package classifier

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate/document"
	"hone/data/curate/words"
	"hone/safetensors"
)

// Config keeps documents that are more like one set of examples than like another: logistic regression on the hashes of words and word pairs, averaged
// over a document, as a linear fastText model is (Joulin et al., "Bag of Tricks for Efficient Text Classification", 2017), which CCNet's and GPT-3's
// filters for quality are made with.
type Config struct {
	Model     string   `yaml:"model" doc:"file of a trained classifier; empty: it is trained from positive and negative before anything else"`
	Positive  []string `yaml:"positive" doc:"files, folders or globs of examples to keep the likes of"`
	Negative  []string `yaml:"negative" doc:"the same of examples to reject the likes of, such as a sample of the raw data"`
	Threshold float64  `yaml:"threshold" doc:"probability of being positive from which a document is kept"`

	Training Training `yaml:"training"`
}

// Training is how a classifier is trained.
type Training struct {
	NGram        int     `yaml:"ngram" doc:"words in the longest feature"`
	Buckets      int     `yaml:"buckets" doc:"weights, which hashes of features share; a power of two"`
	Examples     int     `yaml:"examples" doc:"most examples of a set; of more, these are drawn by the hash of their texts"`
	Words        int     `yaml:"words" doc:"a document is judged by its first words, so many"`
	Epochs       int     `yaml:"epochs" doc:"passes over the examples"`
	LearningRate float64 `yaml:"learning_rate" doc:"of AdaGrad"`
	HeldOut      float64 `yaml:"held_out" doc:"share of the examples that only measure what was learnt"`
	Seed         uint64  `yaml:"seed" doc:"of the order of examples and of what is held out"`
}

// Default has fastText's epochs and word pairs.
func Default() Config {
	return Config{Threshold: 0.5, Training: Training{NGram: 2, Buckets: 1 << 20, Examples: 20000, Words: 1000, Epochs: 5, LearningRate: 0.5, HeldOut: 0.1, Seed: 1}}
}

// minBuckets is the least number of weights.
const minBuckets = 1 << 8

// Files are what the classifier is made from.
func (c Config) Files() []string {
	if c.Model != "" {
		return []string{c.Model}
	}
	return slices.Concat(c.Positive, c.Negative)
}

// Validate reports the first value that cannot be meant.
func (c Config) Validate() error {
	t := c.Training
	switch {
	case c.Model == "" && (len(c.Positive) == 0 || len(c.Negative) == 0):
		return errors.New("classifier has neither a model nor both positive and negative examples; name one or the others")
	case !(c.Threshold >= 0 && c.Threshold <= 1):
		return fmt.Errorf("classifier.threshold is %v; it must be between 0 and 1", c.Threshold)
	case t.NGram < 1 || t.NGram > 10 || t.Words < 1 || t.Words > 1<<20 || t.Epochs < 1 || t.Examples < 10:
		return fmt.Errorf("classifier.training has ngram %d, words %d, epochs %d and examples %d; each must be at least 1, examples 10, and n-grams have up to 10 words",
			t.NGram, t.Words, t.Epochs, t.Examples)
	case t.Buckets < minBuckets || t.Buckets > 1<<28 || t.Buckets&(t.Buckets-1) != 0:
		return fmt.Errorf("classifier.training.buckets is %d; use a power of two from %d to %d", t.Buckets, minBuckets, 1<<28)
	case !(t.LearningRate > 0) || math.IsInf(t.LearningRate, 0) || !(t.HeldOut > 0 && t.HeldOut < 1):
		return fmt.Errorf("classifier.training.learning_rate is %v and held_out %v; the one must be above 0, the other between 0 and 1", t.LearningRate, t.HeldOut)
	}
	return nil
}

// Report is what a classifier does on examples that were held out, each set weighing the same.
type Report struct {
	Positive int `json:"positive"` // examples learnt from
	Negative int `json:"negative"`
	HeldOut  int `json:"held_out"` // examples of both sets

	Accuracy float64 `json:"accuracy"` // at the probability 0.5
	Recall   float64 `json:"recall"`   // share of the positive ones that are kept
	Rejected float64 `json:"rejected"` // share of the negative ones that are not
	AUC      float64 `json:"auc"`      // probability that a positive one scores above a negative one
}

// String says it in a line.
func (r Report) String() string {
	return fmt.Sprintf("learnt from %d positive and %d negative examples; of %d held out it keeps %.1f%% of the positive and rejects %.1f%% of the negative ones (accuracy %.3f, AUC %.3f)",
		r.Positive, r.Negative, r.HeldOut, 100*r.Recall, 100*r.Rejected, r.Accuracy, r.AUC)
}

// Model is a trained one. It is for several goroutines at once.
type Model struct {
	NGram, Words int
	Weights      []float32 // a power of two
	Bias         float32
	Report       Report

	pool sync.Pool // of *features
}

// features are the hashes of a document's words and n-grams.
type features struct {
	words []words.Span
	keys  []uint32
}

// of finds a text's features.
func (f *features) of(text string, ngram, most, buckets int) []uint32 {
	list := words.Spans(text[:min(len(text), 32*most)], most, f.words[:0])
	keys := f.keys[:0]
	for i := range list {
		h := uint64(0)
		for n, w := range list[i:min(len(list), i+ngram)] {
			h = h*words.RollFactor + w.Hash
			keys = append(keys, uint32(words.Mix(h+uint64(n)))&uint32(buckets-1))
		}
	}
	f.words, f.keys = list, keys
	return keys
}

// Probability is that of a text being positive; 0.5 for one without words.
func (c *Model) Probability(text string) float64 {
	f, ok := c.pool.Get().(*features)
	if !ok {
		f = &features{}
	}
	defer c.pool.Put(f)
	return c.probability(f.of(text, c.NGram, c.Words, len(c.Weights)))
}

func (c *Model) probability(keys []uint32) float64 {
	if len(keys) == 0 {
		return 0.5
	}
	sum := 0.0
	for _, k := range keys {
		sum += float64(c.Weights[k])
	}
	return 1 / (1 + math.Exp(-(float64(c.Bias) + sum/float64(len(keys)))))
}

// Step makes the step.
func (c *Model) Step(threshold float64) document.Step {
	return document.Step{Name: "classifier", Apply: func(d *document.Doc) string {
		p := c.Probability(d.Text)
		d.Score("classifier.probability", p)
		if p < threshold {
			return "like the negative examples"
		}
		return ""
	}}
}

// example is a document to learn from.
type example struct {
	order    uint64 // by the hash of its text
	keys     []uint32
	positive bool
	held     bool
}

// examples reads the examples of a set: of too many, those of the least hashes. Equal texts are one example.
func (t Training) examples(paths []string, positive bool) ([]example, error) {
	var list []example
	f := &features{}
	most := uint64(math.MaxUint64)
	seen := map[uint64]bool{}
	shrink := func() {
		slices.SortFunc(list, func(a, b example) int { return cmp.Compare(a.order, b.order) })
		for _, e := range list[min(len(list), t.Examples):] {
			delete(seen, e.order)
		}
		if list = list[:min(len(list), t.Examples)]; len(list) == t.Examples {
			most = list[len(list)-1].order
		}
	}
	for d, err := range (data.Sources{Paths: paths}).Documents(&data.Stats{}) {
		if err != nil {
			return nil, err
		}
		order := xxh3.HashSeed(d.Text, t.Seed)
		if order > most || seen[order] {
			continue
		}
		seen[order] = true
		keys := slices.Clone(f.of(string(d.Text), t.NGram, t.Words, t.Buckets))
		held := float64(words.Mix(order)>>11)/(1<<53) < t.HeldOut
		if list = append(list, example{order, keys, positive, held}); len(list) == 2*t.Examples {
			shrink()
		}
	}
	shrink()
	return list, nil
}

// Train trains a classifier on the examples. The result depends on them and the values alone.
func (c Config) Train() (*Model, error) {
	t := c.Training
	positive, err := t.examples(c.Positive, true)
	if err != nil {
		return nil, err
	}
	negative, err := t.examples(c.Negative, false)
	if err != nil {
		return nil, err
	}
	out := &Model{NGram: t.NGram, Words: t.Words, Weights: make([]float32, t.Buckets)}
	all := slices.Concat(positive, negative)
	learn := slices.DeleteFunc(slices.Clone(all), func(e example) bool { return e.held })
	for _, e := range learn {
		if e.positive {
			out.Report.Positive++
		} else {
			out.Report.Negative++
		}
	}
	if out.Report.Positive == 0 || out.Report.Negative == 0 {
		return nil, fmt.Errorf("classifier: there are %d positive and %d negative examples to learn from; give more", out.Report.Positive, out.Report.Negative)
	}
	out.learn(t, learn)
	out.measure(slices.DeleteFunc(all, func(e example) bool { return !e.held }))
	return out, nil
}

// learn takes steps of AdaGrad (Duchi et al., 2011) down the logistic loss, in which both sets weigh the same.
func (c *Model) learn(t Training, list []example) {
	squares := make([]float32, len(c.Weights))
	biasSquares := float32(0)
	total := float64(len(list)) / 2
	weight := map[bool]float64{true: total / float64(c.Report.Positive), false: total / float64(c.Report.Negative)}
	for epoch := range t.Epochs {
		slices.SortFunc(list, func(a, b example) int {
			return cmp.Compare(words.Mix(a.order+uint64(epoch)*words.RollFactor), words.Mix(b.order+uint64(epoch)*words.RollFactor))
		})
		for _, e := range list {
			if len(e.keys) == 0 {
				continue
			}
			g := c.probability(e.keys)
			if e.positive {
				g--
			}
			g *= weight[e.positive]
			// AdaGrad: each weight's step shrinks with its own past gradients, so that rare features, which tell most, still learn when frequent ones are done.
			biasSquares += float32(g * g)
			c.Bias -= float32(t.LearningRate * g / (1e-6 + math.Sqrt(float64(biasSquares))))
			each := float32(g / float64(len(e.keys)))
			for _, k := range e.keys {
				squares[k] += each * each
				c.Weights[k] -= float32(t.LearningRate) * each / (1e-8 + float32(math.Sqrt(float64(squares[k]))))
			}
		}
	}
}

// measure fills the report from examples that were held out.
func (c *Model) measure(held []example) {
	type scored struct {
		p        float64
		positive bool
	}
	var list []scored
	right, of := map[bool]int{}, map[bool]int{}
	for _, e := range held {
		p := c.probability(e.keys)
		list = append(list, scored{p, e.positive})
		of[e.positive]++
		if (p >= 0.5) == e.positive {
			right[e.positive]++
		}
	}
	r := &c.Report
	r.HeldOut, r.Recall, r.Rejected = len(held), document.Share(right[true], of[true]), document.Share(right[false], of[false])
	r.Accuracy = (r.Recall + r.Rejected) / 2
	slices.SortFunc(list, func(a, b scored) int { return cmp.Compare(a.p, b.p) })
	below, pairs := 0, 0.0 // negatives below; ties count half
	for i := 0; i < len(list); {
		j, pos, neg := i, 0, 0
		for ; j < len(list) && list[j].p == list[i].p; j++ {
			if list[j].positive {
				pos++
			} else {
				neg++
			}
		}
		pairs += float64(pos) * (float64(below) + float64(neg)/2)
		below, i = below+neg, j
	}
	if n := of[true] * of[false]; n > 0 {
		r.AUC = pairs / float64(n)
	}
}

// Save writes the classifier as a safetensors file: weight, bias, and what the features are in its metadata.
func (c *Model) Save(path string) error {
	report, err := json.Marshal(c.Report)
	if err != nil {
		return err
	}
	w, err := safetensors.Create(path, []safetensors.Info{{Name: "weight", DType: safetensors.F32, Shape: []int{len(c.Weights)}}, {Name: "bias", DType: safetensors.F32, Shape: []int{1}}},
		map[string]string{"format": format, "ngram": strconv.Itoa(c.NGram), "words": strconv.Itoa(c.Words), "report": string(report)})
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := errors.Join(w.WriteFloat32("weight", c.Weights), w.WriteFloat32("bias", []float32{c.Bias})); err != nil {
		return err
	}
	return w.Commit()
}

// format names the features; another way to make them, such as another cut of words, is another format.
const (
	anyFormat = "hone text classifier "
	format    = anyFormat + "5"
)

// Load reads what Save wrote.
func Load(path string) (*Model, error) {
	a, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	m := a.Metadata()
	if f := m["format"]; f != format && strings.HasPrefix(f, anyFormat) {
		return nil, fmt.Errorf("%s holds a classifier of another version of hone; train it anew by hone data classifier", path)
	}
	c := &Model{}
	weight, some := a.Tensor("weight")
	bias, also := a.Tensor("bias")
	n := weight.Elements()
	c.NGram, _ = strconv.Atoi(m["ngram"])
	c.Words, _ = strconv.Atoi(m["words"])
	if m["format"] != format || !some || !also || n < minBuckets || n&(n-1) != 0 || bias.Elements() != 1 || c.NGram < 1 || c.NGram > 10 || c.Words < 1 || c.Words > 1<<20 {
		return nil, fmt.Errorf("%s holds no text classifier; train one by hone data classifier", path)
	}
	if c.Weights, err = weight.Float32(); err != nil {
		return nil, err
	}
	b, err := bias.Float32()
	if err != nil {
		return nil, err
	}
	infinite := func(w float32) bool { return math.IsNaN(float64(w)) || math.IsInf(float64(w), 0) }
	if c.Bias = b[0]; infinite(c.Bias) || slices.ContainsFunc(c.Weights, infinite) {
		return nil, fmt.Errorf("%s has weights that are no numbers; train it anew by hone data classifier", path)
	}
	if err := json.Unmarshal([]byte(m["report"]), &c.Report); err != nil {
		return nil, fmt.Errorf("%s: the report of the classifier is damaged: %w", path, err)
	}
	return c, nil
}
