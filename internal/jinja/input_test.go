package jinja

import (
	"slices"
	"testing"
)

// TestInputs are printed as Python prints them, and told apart by a template's tests.
func TestInputs(t *testing.T) {
	d := Object(0)
	d.Set("b", List(Bool(true), None(), String("it's", 0)))
	d.Set("a", String("x\xffy", 0))
	d.Set("b2", List())
	const source = "{{ d }}|{{ d.b[0] is boolean }}|{{ d.b[1] is none }}|{{ d.none is defined }}|{{ d.b | length }}"
	got, err := render(source, map[string]Value{"d": d})
	want := "{'b': [True, None, \"it's\"], 'a': 'x\ufffdy', 'b2': []}|True|True|False|3"
	if err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if !slices.Equal(d.Keys(), []string{"b", "a", "b2"}) {
		t.Errorf("the keys are %v, in another order than they were set", d.Keys())
	}
	d.Set("b", Bool(false)) // in its old place
	if !slices.Equal(d.Keys(), []string{"b", "a", "b2"}) || d.Get("b").IsList() {
		t.Errorf("set again: keys %v, list %v", d.Keys(), d.Get("b").IsList())
	}
	for what, ok := range map[string]bool{
		"a missing key is None": d.Get("nothing").IsNone(), "what is no dict has no keys": len(List(None()).Keys()) == 0 && None().Get("a").IsNone(),
		"a list is one": List().IsList() && !Object(0).IsList(), "a dict is not None": !d.IsNone(), "the zero Value is None": Value{}.IsNone(),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

// TestCloneIsApart: what is set in a copy is not in the other, and what stands in both is the same.
func TestCloneIsApart(t *testing.T) {
	inner := Object(1)
	inner.Set("k", String("old", 1))
	d := Object(0)
	d.Set("inner", inner)
	c := d.Clone()
	c.Set("more", Bool(true))
	if len(d.Keys()) != 1 || len(c.Keys()) != 2 || !d.Get("more").IsNone() {
		t.Errorf("keys are %v, and %v in the copy", d.Keys(), c.Keys())
	}
	inner.Set("k", String("new", 1))
	if got, err := render("{{ c.inner.k }}", map[string]Value{"c": c}); err != nil || got != "new" {
		t.Errorf("the copy is of what is in it, too: %q, %v", got, err)
	}
	if !None().Clone().IsNone() {
		t.Error("a copy of None is something")
	}
}
