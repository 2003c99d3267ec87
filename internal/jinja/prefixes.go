package jinja

import (
	"maps"
	"math"
	"math/big"
	"slices"
	"sort"
)

// Prefixes renders a template again for the first items of a list, as a conversation up to its nth message. Most templates are one loop over
// the list, so that a rendering of n items repeats n rounds of the rendering of all: Prefixes starts it behind the rounds that it would repeat.
// All n of a list then take time in proportion to the list, not to its square.
//
// What is left out must be what the shorter rendering would have done, so the first rendering notes how much of the list it has looked at (see
// watch). A template that looks at all of the list before its loop, as for the last question, is rendered from its beginning each time.
type Prefixes struct {
	template *Template
	vars     map[string]Value
	list     string // name of the list
	opt      Options
	watch    *watch // of the first rendering
}

// RenderPrefixes renders the template and returns what renders it for the first items of the list with the given name. varies are the other
// variables that those renderings change; both must be there.
func (t *Template) RenderPrefixes(vars map[string]Value, list string, varies []string, opt Options) (Result, *Prefixes, error) {
	w := newWatch(vars, list, varies)
	r, err := t.render(vars, opt, w)
	return r, &Prefixes{t, vars, list, opt, w}, err
}

// Render renders the template with the first n items of the list and the given variables in place of the first rendering's. The text is the first
// shared bytes of the first rendering's, then rest.
func (p *Prefixes) Render(n int, vars map[string]Value) (shared int, rest string, err error) {
	all := maps.Clone(p.vars)
	maps.Copy(all, vars)
	items := p.vars[p.list].v.(*list).items
	all[p.list] = Value{listOf(items[:n:n])}
	w := newWatch(all, p.list, nil)
	if w.first, w.n = p.watch, n; len(p.watch.marks) == 0 {
		w = nil
	}
	r, err := p.template.render(all, p.opt, w)
	if w != nil {
		shared = w.shared
	}
	return shared, r.Text.s, err
}

// unlimited is how many items a rendering has looked at that depends on the end of the list, or on a variable that varies.
const unlimited = math.MaxInt

// watch notes what a rendering looks at of a list. Up to the first loop over it, and in that loop, the list may be bound to names, its tails [k:]
// too, and single items may be taken; any other use looks at all of it. A rendering of fewer items does the same up to a round of the loop when
// it has all the items that were looked at until then; what differs then is only the state that mark keeps.
//
// The same type starts a later rendering at a mark: first is set then, and nothing is noted.
type watch struct {
	lists      map[*list]int // the list and tails of it, with the number of their first item
	varies     []string
	seen       int            // items that were looked at: others may be missing
	namespaces []*namespace   // made so far, in order: the only values that a template changes
	fresh      map[*list]bool // generators that this round has made; others must not be used up in it
	started    bool           // the loop, its filter first
	loop       *loop          // the first one over the list
	places     []int          // of its items: their numbers in the list
	kept       []any          // what its filter left; nil without one
	entry      int            // steps before the loop
	filtered   []int          // steps at the end of the filter of each item of the list, from the loop's first one
	marks      []mark
	first      *watch // to start from; nil in the first rendering
	n          int    // items of this one
	shared     int    // bytes of the text that this one left out
}

// mark is the state before a round of the loop.
type mark struct {
	items  int // of the list that the rounds before it took
	round  int
	seen   int
	out    int // bytes written
	steps  int
	line   int
	ended  bool   // one of the rounds before it got to its end
	fields []dict // of the namespaces
}

// newWatch watches the list with the given name. A variable that is none cannot be watched: nothing is left out then.
func newWatch(vars map[string]Value, name string, varies []string) *watch {
	w := &watch{varies: varies, lists: map[*list]int{}}
	if l, ok := vars[name].v.(*list); ok {
		w.lists[l] = 0
	}
	return w
}

// see notes that a rendering has looked at n items.
func (w *watch) see(n int) { w.seen = max(w.seen, n) }

// used notes that a value, that of expression x, was used in a way that nothing is known of.
func (w *watch) used(x expr, v any) {
	if name, ok := x.(nameExpr); ok && slices.Contains(w.varies, name.name) {
		w.see(unlimited)
	}
	if l, ok := v.(*list); ok {
		if _, ok := w.lists[l]; ok {
			w.see(unlimited)
		}
	}
}

// item notes that item i of a list was taken. Negative ones count from the end.
func (w *watch) item(l *list, i int64, ok bool) {
	from, watched := w.lists[l]
	switch {
	case !watched:
	case ok && i >= 0 && i < int64(len(l.items)):
		w.see(from + int(i) + 1)
	default:
		w.see(unlimited)
	}
}

// tail notes that tail was cut off list l from item lo on; one cut in the loop would take work by the length of the list in each round.
func (w *watch) tail(l, tail *list, b sliceBounds) {
	from, watched := w.lists[l]
	switch {
	case !watched:
	case b.hasHi || b.lo < 0 || b.step != 1 || w.started:
		w.see(unlimited)
	default:
		w.lists[tail] = from + b.lo
	}
}

// attr notes that an attribute of the loop was asked for. Whether a round is the last is the same for all that have the next item.
func (w *watch) attr(l *loop, name string) {
	switch name {
	case "changed": // it remembers
		w.see(unlimited)
	case "revindex", "revindex0", "length":
		if l == w.loop {
			w.see(unlimited)
		}
	case "last", "nextitem":
		if l != w.loop {
			break
		}
		if next := l.index + 1; next < len(w.places) {
			w.see(w.places[next] + 1)
		} else {
			w.see(unlimited)
		}
	}
}

// generator notes that one was made, and spent that one was used up, or a part of it.
func (w *watch) generator(v any) {
	if l, ok := v.(*list); ok && w.started && l.kind == kindGenerator {
		w.fresh[l] = true
	}
}

// spent notes that a generator was used up, or a part of it: the rendering that starts behind this round would find it whole.
func (w *watch) spent(l *list) {
	if w.started && !w.fresh[l] {
		w.see(unlimited)
	}
}

// plain reports whether a value can be handed from one rendering to another: it is small, and nothing in it changes or knows the list.
func (w *watch) plain(v any, depth int) bool {
	const most = 16
	every := func(items []any) bool {
		return depth < 4 && len(items) <= most && !slices.ContainsFunc(items, func(v any) bool { return !w.plain(v, depth+1) })
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, *big.Int, Text, undefined:
		return true
	case *dict:
		return v.source != 0 || every(v.keys) && every(v.values) // an input is the same one
	case *list:
		_, watched := w.lists[v]
		return !watched && v.kind != kindGenerator && every(v.items)
	}
	return false
}

// mark keeps the state before round i, the first excepted, which there is nothing to gain from.
func (w *watch) mark(st *state, i int) {
	if w.seen == unlimited {
		st.watch = nil // no later round can be left out either
		return
	}
	if clear(w.fresh); i == 0 {
		return
	}
	m := mark{w.places[i-1] + 1, i, w.seen, len(st.out.buf), st.steps, st.line, w.loop.ended, make([]dict, len(w.namespaces))}
	for k, ns := range w.namespaces {
		if !w.plain(ns.vars, 0) { // a later round may be begun at again, when the template has set something else
			return
		}
		m.fields[k] = *ns.vars.clone()
	}
	w.marks = append(w.marks, m)
}

// loopOverWatched runs a loop of a rendering that is watched, over the value v.
func (st *state) loopOverWatched(s forStmt, v any) flow {
	w := st.watch
	l, ok := v.(*list)
	from, watched := 0, false
	if ok {
		from, watched = w.lists[l]
	}
	switch {
	case !watched:
		return st.loopOver(s, st.iterate(v), 0)
	case w.started || st.writer > 0 || s.recursive || w.seen == unlimited:
		w.see(unlimited)
		if !w.started {
			st.watch = nil
		}
		return st.loopOver(s, l.items, 0)
	case w.first != nil:
		st.watch = nil
		return st.resume(s, w, l.items, from)
	}
	w.started, w.entry, w.fresh = true, st.steps, map[*list]bool{}
	items := l.items
	if s.test == nil {
		for i := range items {
			w.places = append(w.places, from+i)
		}
	} else {
		items = st.loopFilter(s, items, func(i int, kept bool) {
			w.filtered = append(w.filtered, st.steps)
			if kept {
				w.places = append(w.places, from+i)
			}
		})
		w.kept = items
	}
	w.loop = &loop{stmt: s, items: items, scope: st.scope}
	f := st.rounds(w.loop, 0)
	st.watch = nil // all that follows knows where the list ends
	return f
}

// resume runs the loop from the last mark that holds for the first n items. Steps are counted as if it had run all of it.
func (st *state) resume(s forStmt, w *watch, items []any, from int) flow {
	first := w.first
	k := sort.Search(len(first.marks), func(k int) bool { return max(first.marks[k].items, first.marks[k].seen) > w.n })
	if k == 0 {
		return st.loopOver(s, items, 0)
	}
	m := &first.marks[k-1]
	rounds := m.steps - first.entry
	if s.test != nil {
		items = first.kept[:sort.SearchInts(first.places, w.n)]
		// of the filter, these items' part
		rounds += first.filtered[w.n-from-1] - first.filtered[len(first.filtered)-1]
	}
	st.step(rounds)
	st.line, w.shared, st.shared, *st.out = m.line, m.out, m.out, builder{}
	for i := range m.fields {
		f := &m.fields[i]
		w.namespaces[i].vars = f.clone()
	}
	return st.rounds(&loop{stmt: s, items: items, scope: st.scope, ended: m.ended}, m.round)
}
