package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// missing is the error of a folder without a tokenizer, which is an fs.ErrNotExist.
type missing string

// Error says what to do.
func (dir missing) Error() string {
	return fmt.Sprintf("read tokenizer: the folder %s has none; copy tokenizer.json, tokenizer.model, or vocab.json with merges.txt into it", string(dir))
}

// Is reports whether the error is asked for as fs.ErrNotExist.
func (missing) Is(target error) bool { return target == fs.ErrNotExist }

// loadFiles reads what path names: a folder's tokenizer.json, tokenizer.model or vocab.json with merges.txt, in this order, or one of
// these files.
func loadFiles(path string) (model, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		names := []string{"tokenizer.json", "tokenizer.model", "vocab.json"}
		at := slices.IndexFunc(names, func(name string) bool { // what is there and cannot be read is told where it is read
			_, err := os.Lstat(filepath.Join(path, name))
			return err == nil || !errors.Is(err, fs.ErrNotExist)
		})
		if at < 0 {
			return model{}, missing(path)
		}
		path = filepath.Join(path, names[at])
	}
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return model{}, fmt.Errorf("read tokenizer: there is no file or folder %s; name a tokenizer.json, or a folder with one", path)
	}
	if err != nil {
		return model{}, fmt.Errorf("read tokenizer: %w", err)
	}
	dir := filepath.Dir(path)
	var m model
	switch {
	case strings.HasSuffix(path, ".model"):
		m, err = parseSPMModel(data)
	case filepath.Base(path) == "vocab.json":
		m, err = readVocabAndMerges(data, dir)
	default:
		m, err = parseModel(data)
	}
	if err != nil {
		return m, fmt.Errorf("read tokenizer %s: %w", path, err)
	}
	if err := loadConfig(dir, &m); err != nil {
		return m, err
	}
	if m.spm == nil && filepath.Base(path) != "vocab.json" {
		return m, m.addDeclared(dir)
	}
	if err := m.addFromFolder(dir); err != nil {
		return m, err
	}
	return m, m.setDefaultParts()
}

// parseSPMModel reads a SentencePiece model.
func parseSPMModel(data []byte) (model, error) {
	f, err := parseSPM(data)
	if err != nil {
		return model{}, err
	}
	return f.model()
}

// readVocabAndMerges reads GPT-2's pair of files: byte-level BPE.
func readVocabAndMerges(vocab []byte, dir string) (model, error) {
	m := model{kind: "BPE", unkID: -1}
	if err := unmarshalMap(vocab, &m.vocab); err != nil {
		return m, fmt.Errorf("not a vocab.json: %w", err)
	}
	data, err := readBounded(filepath.Join(dir, "merges.txt"))
	if err != nil {
		return m, err
	}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || strings.HasPrefix(line, "#version") {
			continue
		}
		left, right, ok := cutOnce(line)
		if !ok {
			return m, fmt.Errorf("merges.txt: line %d (%q) is not two pieces with one space between", n+1, line)
		}
		m.merges = append(m.merges, [2]string{left, right})
	}
	return m, m.check()
}

// setDefaultParts adds the components that old files do not name, from what tokenizer_config.json says.
func (m *model) setDefaultParts() (err error) {
	if m.spm == nil {
		var prefixSpace bool
		if raw := m.kept.config["add_prefix_space"]; !isNull(raw) && json.Unmarshal(raw, &prefixSpace) != nil {
			return errors.New("tokenizer_config.json: add_prefix_space must be true or false")
		}
		var err2 error
		m.parts.preTokenizer, err = byteLevelPart(prefixSpace, true).MarshalJSON()
		m.parts.decoder, err2 = byteLevelPart(true, true).MarshalJSON()
		if err = errors.Join(err, err2); err != nil {
			return err
		}
	}
	// where tokenizer_config.json says nothing, a model with BOS adds it (Llama), one without adds EOS (T5)
	bos, eos := m.spm != nil && m.spm.bos >= 0, m.spm != nil && m.spm.bos < 0 && m.spm.eos >= 0
	for key, to := range map[string]*bool{"add_bos_token": &bos, "add_eos_token": &eos} {
		if raw := m.kept.config[key]; !isNull(raw) && json.Unmarshal(raw, to) != nil {
			return fmt.Errorf("tokenizer_config.json: %s must be true or false", key)
		}
	}
	return m.setTemplate(bos && m.config.BOS != "", eos && m.config.EOS != "")
}

// setTemplate makes the post-processor that adds BOS and EOS.
func (m *model) setTemplate(bos, eos bool) (err error) {
	if !bos && !eos {
		return nil
	}
	single, special := []object{{{"Sequence", object{{"id", "A"}, {"type_id", 0}}}}}, object{}
	add := func(name string) object {
		id, ok := m.vocab[name]
		for _, a := range m.added {
			if !ok && a.Content == name {
				id = a.ID
			}
		}
		if !slices.ContainsFunc(special, func(f field) bool { return f.key == name }) {
			special = append(special, field{name, object{{"id", name}, {"ids", []int32{id}}, {"tokens", []string{name}}}})
		}
		return object{{"SpecialToken", object{{"id", name}, {"type_id", 0}}}}
	}
	if bos {
		single = append([]object{add(m.config.BOS)}, single...)
	}
	if eos {
		single = append(single, add(m.config.EOS))
	}
	m.parts.postProcessor, err = object{{"type", "TemplateProcessing"}, {"single", single}, {"pair", single}, {"special_tokens", special}}.MarshalJSON()
	return err
}

// declared are the added tokens, with their ids, of tokenizer_config.json's added_tokens_decoder, in the order of the ids; ok is false where it has none.
func (m *model) declared() (list []AddedToken, ok bool, err error) {
	raw := m.kept.config["added_tokens_decoder"]
	if isNull(raw) {
		return nil, false, nil
	}
	byID := map[string]AddedToken{}
	if err := unmarshalMap(raw, &byID); err != nil {
		return nil, false, fmt.Errorf("tokenizer_config.json: added_tokens_decoder: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(byID)) { // in one order, as 7 and 07 are one id
		a := byID[key]
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return nil, false, fmt.Errorf("tokenizer_config.json: added_tokens_decoder has the id %q, which is not a number", key)
		}
		a.ID = int32(id)
		list = append(list, a)
	}
	slices.SortFunc(list, byIDAndContent)
	return list, true, nil
}

// listed are the added tokens, with their ids, of added_tokens.json, in the order of the ids.
func listed(dir string) (list []AddedToken, err error) {
	names := map[string]int32{}
	if err := readJSON(filepath.Join(dir, "added_tokens.json"), func(data []byte) error { return unmarshalMap(data, &names) }); err != nil {
		return nil, err
	}
	for name, id := range names {
		list = append(list, AddedToken{ID: id, Content: name, Normalized: true})
	}
	slices.SortFunc(list, byIDAndContent)
	return list, nil
}

// byIDAndContent is an order of tokens that maps do not change: the one that comes first counts where two want an id.
func byIDAndContent(a, b AddedToken) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Content, b.Content))
}

// rows is the vocab_size of the config.json beside a tokenizer, 0 where there is none to read: what is wrong with it is told where the model is read.
func rows(dir string) int {
	var config struct {
		VocabSize int `json:"vocab_size"`
		Text      struct {
			VocabSize int `json:"vocab_size"`
		} `json:"text_config"` // of a model that sees images, too
	}
	if err := readJSON(filepath.Join(dir, "config.json"), func(data []byte) error { return unmarshal(data, &config) }); err != nil {
		return 0
	}
	return cmp.Or(config.VocabSize, config.Text.VocabSize)
}

// addDeclared adds the tokens that a tokenizer.json lacks, as one does that was copied from the model before it was tuned, and that the files beside it
// give an id which it has given to no other: tokenizer_config.json or else, as in transformers, which finds them in texts, too, added_tokens.json.
// An id for which the model beside has no row, such as that of Llama 2's <pad> in some copies, stands for nothing.
func (m *model) addDeclared(dir string) error {
	list, ok, err := m.declared()
	if err == nil && !ok {
		list, err = listed(dir)
	}
	if err != nil || len(list) == 0 {
		return err
	}
	taken, known, vocab := map[int32]bool{}, map[string]bool{"": true}, m.vocab
	if m.kind == "Unigram" {
		vocab = make(map[string]int32, len(m.names))
		for id, name := range m.names {
			vocab[name] = int32(id)
		}
	}
	for _, id := range vocab {
		taken[id] = true
	}
	for _, a := range m.added {
		taken[a.ID], known[a.Content] = true, true
	}
	most := rows(dir)
	for _, a := range list {
		id, inVocab := vocab[a.Content]
		if inVocab {
			a.ID = id
		}
		named := slices.Contains([]string{m.config.BOS, m.config.EOS, m.config.PAD, m.config.UNK}, a.Content)
		beyond := most > 0 && int(a.ID) >= most && !named // a model that needs one is refused for it
		if known[a.Content] || !inVocab && (taken[a.ID] || beyond) {
			continue
		}
		if named {
			a.Special, a.Normalized = true, false
		}
		taken[a.ID], known[a.Content] = true, true
		m.added = append(m.added, a)
	}
	slices.SortFunc(m.added, func(a, b AddedToken) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// addFromFolder reads the added tokens of old folders: tokenizer_config.json's added_tokens_decoder, added_tokens.json, and special_tokens_map.json,
// whose tokens are special.
func (m *model) addFromFolder(dir string) error {
	list, _, err := m.declared()
	if err != nil {
		return err
	}
	more, err := listed(dir)
	if err != nil {
		return err
	}
	for _, a := range append(list, more...) {
		m.addToken(a)
	}
	special := map[string]json.RawMessage{}
	if err := readJSON(filepath.Join(dir, "special_tokens_map.json"), func(data []byte) error { return unmarshal(data, &special) }); err != nil {
		return err
	}
	for key, raw := range special {
		if err := m.markSpecial(key, raw); err != nil {
			return fmt.Errorf("%s: %s: %w", filepath.Join(dir, "special_tokens_map.json"), key, err)
		}
	}
	slices.SortFunc(m.added, func(a, b AddedToken) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// readJSON reads a file that need not exist.
func readJSON(path string, parse func(data []byte) error) error {
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = parse(data)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// addToken adds a token, or replaces the one of the same text.
func (m *model) addToken(a AddedToken) {
	for i := range m.added {
		if m.added[i].Content == a.Content {
			a.Special = a.Special || m.added[i].Special
			m.added[i] = a
			return
		}
	}
	m.added = append(m.added, a)
}

// markSpecial makes the tokens of one entry special: a name, an object, or a list of them. Names that no vocabulary has get no id here.
func (m *model) markSpecial(key string, raw json.RawMessage) error {
	list := []json.RawMessage{raw}
	if bytes.HasPrefix(raw, []byte("[")) {
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
	}
	for _, r := range list {
		var name string
		if err := tokenName(r, &name); err != nil {
			return err
		}
		if to := map[string]*string{"bos_token": &m.config.BOS, "eos_token": &m.config.EOS, "pad_token": &m.config.PAD, "unk_token": &m.config.UNK}[key]; to != nil && *to == "" {
			*to = name
		}
		a := AddedToken{Content: name}
		if i := slices.IndexFunc(m.added, func(a AddedToken) bool { return a.Content == name }); i >= 0 {
			a = m.added[i]
		} else if id, ok := m.vocab[name]; ok {
			a.ID = id
		} else {
			continue
		}
		a.Special = true
		m.addToken(a)
	}
	return nil
}
