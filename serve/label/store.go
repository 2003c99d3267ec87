// Package label collects preferences: a web page shows two answers to a prompt side by side, people say which is
// better, and every judgement is in an SQLite file before the page shows the next pair.
package label

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3/driver" // registers itself with database/sql
)

// Verdict is what an annotator says of a pair.
type Verdict string

// The verdicts.
const (
	A    Verdict = "a"    // the first answer is better
	B    Verdict = "b"    // the second is
	Tie  Verdict = "tie"  // both are equally good
	Bad  Verdict = "bad"  // neither can be used
	Skip Verdict = "skip" // the annotator does not judge this pair
)

// Pair is a prompt with two answers.
type Pair struct {
	ID      int64
	Prompt  json.RawMessage // a text, or a list of messages {role, content}
	Answers [2]Answer       // A and B
}

// Answer is a text and where it comes from.
type Answer struct {
	Text   string
	Source string // the model and how it was sampled, for the export
}

// Judgement is one annotator's verdict on a pair.
type Judgement struct {
	Pair      int64
	Annotator string
	Verdict   Verdict
	Left      Verdict // the answer that stood on the left, A or B
	Comment   string
	Seconds   float64 // from showing the pair to the verdict
	At        time.Time
}

// ErrJudged means that the annotator has judged the pair already, in another tab for instance.
var ErrJudged = errors.New("this pair is judged already")

// ErrNoPair means that there is no such pair, or one that is not shown.
var ErrNoPair = errors.New("there is no such pair to judge")

// Store is the SQLite file of pairs and judgements. It may be used by several goroutines.
type Store struct {
	db   *sql.DB
	path string
}

// schema keeps what was undone, so that nothing an annotator did is lost; live judgements are unique.
const schema = `
CREATE TABLE IF NOT EXISTS pairs (
	id INTEGER PRIMARY KEY,
	key TEXT NOT NULL UNIQUE, -- what the pair was made from, so that naming a file twice adds nothing
	prompt TEXT NOT NULL,     -- JSON: a text or a list of messages
	a TEXT, b TEXT,           -- the answers; NULL until they are generated
	source_a TEXT NOT NULL DEFAULT '', source_b TEXT NOT NULL DEFAULT '',
	left_out TEXT NOT NULL DEFAULT '' -- why the pair is not shown
);
CREATE TABLE IF NOT EXISTS judgements (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	pair INTEGER NOT NULL REFERENCES pairs(id),
	annotator TEXT NOT NULL,
	verdict TEXT NOT NULL CHECK (verdict IN ('a', 'b', 'tie', 'bad', 'skip')),
	left_answer TEXT NOT NULL CHECK (left_answer IN ('a', 'b')),
	comment TEXT NOT NULL,
	seconds REAL NOT NULL,
	at TEXT NOT NULL,
	undone INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS live ON judgements(pair, annotator) WHERE undone = 0;
`

// Open opens the file, making it when it is not there. A judgement is on disk before Judge returns.
func Open(ctx context.Context, path string) (*Store, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	// As a URL, because a path may hold ? and #, which would begin options.
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(full)}).String()
	db, err := driver.Open(name + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // SQLite writes one at a time anyway
	if _, err := db.ExecContext(ctx, schema); err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: it is no store of labels, or cannot be written: %w", path, err)
	}
	s := &Store{db, path}
	if err := s.update(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// Why a pair with answers is not shown: nobody could prefer one of two that are the same, and nothing learns from a preference with an empty one.
const (
	anEmptyAnswer = "an answer is empty"
	sameAnswers   = "both answers are the same"
)

// storeVersion is SQLite's user_version of a store in which pairs that are not to be shown are marked as setAnswers marks them.
const storeVersion = 1

// spaces are what strings.TrimSpace takes off.
const spaces = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

// update marks the pairs of a store from before there was a rule for them.
func (s *Store) update(ctx context.Context) error {
	version := 0
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	if version >= storeVersion {
		return nil
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE pairs SET left_out = CASE WHEN trim(a, ?1) = '' OR trim(b, ?1) = '' THEN ?2 ELSE ?3 END
			WHERE a IS NOT NULL AND left_out = '' AND (trim(a, ?1) = '' OR trim(b, ?1) = '' OR trim(a, ?1) = trim(b, ?1))`, spaces, anEmptyAnswer, sameAnswers)
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", storeVersion))
		}
		return err
	})
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// AddPrompts adds prompts whose answers are still to be made and returns how many are new.
func (s *Store) AddPrompts(ctx context.Context, prompts []json.RawMessage) (added int, err error) {
	pairs := make([]Pair, len(prompts))
	for i, p := range prompts {
		pairs[i].Prompt = p
	}
	return s.add(ctx, pairs, false)
}

// AddPairs adds pairs that have their answers and returns how many are new. Pairs of equal answers, or with an empty one, are kept but not shown.
func (s *Store) AddPairs(ctx context.Context, pairs []Pair) (added int, err error) {
	return s.add(ctx, pairs, true)
}

// add inserts pairs whose key is new, all or none: a file that is named again adds what it has more.
func (s *Store) add(ctx context.Context, pairs []Pair, answered bool) (added int, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		for _, p := range pairs {
			key := string(p.Prompt)
			if answered {
				text, err := json.Marshal([]any{p.Prompt, p.Answers[0].Text, p.Answers[1].Text})
				if err != nil {
					return err
				}
				key = string(text)
			}
			done, err := tx.ExecContext(ctx, "INSERT INTO pairs (key, prompt) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, string(p.Prompt))
			if err != nil {
				return err
			}
			n, err := done.RowsAffected()
			if err != nil || n == 0 {
				continue
			}
			added++
			if !answered {
				continue
			}
			if p.ID, err = done.LastInsertId(); err != nil {
				return err
			}
			if err := setAnswers(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return added, err
}

// change runs f in a transaction.
func (s *Store) change(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing to undo after Commit
	if err := f(tx); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

// Unanswered lists up to limit pairs without answers, in order.
func (s *Store) Unanswered(ctx context.Context, limit int) ([]Pair, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, prompt FROM pairs WHERE a IS NULL ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	defer rows.Close()
	var pairs []Pair
	for rows.Next() {
		var p Pair
		var prompt string
		if err := rows.Scan(&p.ID, &prompt); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
		p.Prompt = json.RawMessage(prompt)
		pairs = append(pairs, p)
	}
	return pairs, rows.Err()
}

// SetAnswers keeps the answers of pairs that Unanswered listed. Pairs of equal answers, or with an empty one, are not shown. What another program has
// answered meanwhile stays as it is: it may have been judged.
func (s *Store) SetAnswers(ctx context.Context, pairs []Pair) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		for _, p := range pairs {
			if err := setAnswers(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
}

// setAnswers keeps answers, and why a pair is not to be shown.
func setAnswers(ctx context.Context, tx *sql.Tx, p Pair) error {
	reason := ""
	// Kept, so that the same prompts are not answered again at the next start.
	switch a, b := strings.TrimSpace(p.Answers[0].Text), strings.TrimSpace(p.Answers[1].Text); {
	case a == "" || b == "":
		reason = anEmptyAnswer
	case a == b:
		reason = sameAnswers
	}
	_, err := tx.ExecContext(ctx, "UPDATE pairs SET a = ?, b = ?, source_a = ?, source_b = ?, left_out = ? WHERE id = ? AND a IS NULL",
		p.Answers[0].Text, p.Answers[1].Text, p.Answers[0].Source, p.Answers[1].Source, reason, p.ID)
	return err
}

// Next is the pair again where the annotator has not judged that, and else the first such pair; nil when there is none with answers.
func (s *Store) Next(ctx context.Context, annotator string, again int64) (*Pair, error) {
	var p Pair
	var prompt string
	err := s.db.QueryRowContext(ctx, `SELECT id, prompt, a, b, source_a, source_b FROM pairs
		WHERE a IS NOT NULL AND left_out = '' AND NOT EXISTS
			(SELECT 1 FROM judgements j WHERE j.pair = pairs.id AND j.annotator = ? AND j.undone = 0)
		ORDER BY id <> ?, id LIMIT 1`, annotator, again).Scan(&p.ID, &prompt, &p.Answers[0].Text, &p.Answers[1].Text, &p.Answers[0].Source, &p.Answers[1].Source)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	p.Prompt = json.RawMessage(prompt)
	return &p, nil
}

// Left is the answer that the annotator sees on the left: a function of both, so that reloading the page or restarting
// the program does not change it, and half of the pairs stand either way.
func Left(pair int64, annotator string) Verdict {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s", pair, annotator)
	x := h.Sum64() // the low bits of FNV are poor: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	if x&1 == 0 {
		return A
	}
	return B
}

// Judge keeps a judgement. It fails with ErrJudged when the annotator has judged the pair already, with ErrNoPair when there is none.
func (s *Store) Judge(ctx context.Context, j Judgement) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO judgements (pair, annotator, verdict, left_answer, comment, seconds, at)
			SELECT id, ?, ?, ?, ?, ?, ? FROM pairs WHERE id = ? AND a IS NOT NULL AND left_out = ''
			ON CONFLICT (pair, annotator) WHERE undone = 0 DO NOTHING`,
			j.Annotator, j.Verdict, j.Left, j.Comment, j.Seconds, j.At.UTC().Format(time.RFC3339Nano), j.Pair)
		if err != nil {
			return err
		}
		// Nothing was inserted for one of two reasons, which the page tells apart: another tab was first, or there is no such pair.
		if n, err := done.RowsAffected(); err != nil || n > 0 {
			return err
		}
		var there bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM judgements WHERE pair = ? AND annotator = ? AND undone = 0)", j.Pair, j.Annotator).Scan(&there); err != nil {
			return err
		}
		if there {
			return ErrJudged
		}
		return fmt.Errorf("pair %d: %w", j.Pair, ErrNoPair)
	})
}

// Undo takes the annotator's last judgement of a pair that is shown back and returns its pair and comment, or nil when there is none.
func (s *Store) Undo(ctx context.Context, annotator string) (undone *Judgement, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		j := Judgement{Annotator: annotator}
		err := tx.QueryRowContext(ctx, `UPDATE judgements SET undone = 1 WHERE id =
			(SELECT max(j.id) FROM judgements j JOIN pairs ON pairs.id = j.pair WHERE annotator = ? AND undone = 0 AND left_out = '') RETURNING pair, comment`, annotator).Scan(&j.Pair, &j.Comment)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		undone = &j
		return err
	})
	return undone, err
}

// Progress counts an annotator's work and everybody's agreement, both on pairs that are shown.
type Progress struct {
	Done      int       `json:"done"`    // pairs of Ready that the annotator has judged
	Ready     int       `json:"ready"`   // pairs that can be shown
	Waiting   int       `json:"waiting"` // prompts whose answers are still to be made
	LeftOut   int       `json:"left_out"`
	Agreement Agreement `json:"agreement"`
}

// Progress counts.
func (s *Store) Progress(ctx context.Context, annotator string) (p Progress, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM judgements j JOIN pairs ON pairs.id = j.pair WHERE annotator = ? AND undone = 0 AND left_out = ''),
		(SELECT count(*) FROM pairs WHERE a IS NOT NULL AND left_out = ''),
		(SELECT count(*) FROM pairs WHERE a IS NULL),
		(SELECT count(*) FROM pairs WHERE left_out <> '')`, annotator).Scan(&p.Done, &p.Ready, &p.Waiting, &p.LeftOut)
	if err != nil {
		return p, fmt.Errorf("read %s: %w", s.path, err)
	}
	// Counted anew each time: judgements are as many as people can make, so this is never what a page waits for.
	all, err := s.judgements(ctx, "AND pair IN (SELECT id FROM pairs WHERE left_out = '')")
	p.Agreement = Agree(all)
	return p, err
}

// Judgements lists what stands, in the order of the pairs and then of time; also on pairs that are not shown any more.
func (s *Store) Judgements(ctx context.Context) ([]Judgement, error) { return s.judgements(ctx, "") }

// judgements lists what stands of those to which a further condition in SQL applies.
func (s *Store) judgements(ctx context.Context, condition string) ([]Judgement, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT pair, annotator, verdict, left_answer, comment, seconds, at FROM judgements WHERE undone = 0 "+condition+" ORDER BY pair, id")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	defer rows.Close()
	var all []Judgement
	for rows.Next() {
		var j Judgement
		var at string
		if err := rows.Scan(&j.Pair, &j.Annotator, &j.Verdict, &j.Left, &j.Comment, &j.Seconds, &at); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
		if j.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, fmt.Errorf("read %s: judgement of pair %d: %w", s.path, j.Pair, err)
		}
		all = append(all, j)
	}
	return all, rows.Err()
}
