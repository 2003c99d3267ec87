package rl

import (
	"strings"
	"testing"
)

// TestRules shows each rule a run that it is about, and all of them runs that are well.
func TestRules(t *testing.T) {
	d := defaultRollouts().Diagnosis
	first := observation{Score: 0.2, Length: 40, KL: 0, Entropy: 0}
	well := observation{Score: 0.5, Length: 60, KL: 8, Entropy: 1.5, FollowsLen: 0.3}
	for name, c := range map[string]struct {
		then observation
		want string
	}{
		"well":                 {well, ""},
		"KL while score rises": {observation{Score: 0.9, Length: 50, KL: 150, Entropy: 1.2}, "KL exploding"},
		"KL while score falls": {observation{Score: 0.1, Length: 50, KL: 150, Entropy: 1.2}, ""},
		"negative":             {observation{Score: 0.2, Length: 40, KL: -3, Entropy: 2}, "negative KL"},
		"noise":                {observation{Score: 0.2, Length: 40, KL: -0.5, Entropy: 2}, ""},
		"longer and paid":      {observation{Score: 0.6, Length: 200, KL: 9, Entropy: 2, FollowsLen: 0.9}, "length hacking"},
		"longer, not paid":     {observation{Score: 0.6, Length: 200, KL: 9, Entropy: 2, FollowsLen: 0.1}, ""},
		"certain":              {observation{Score: 0.6, Length: 40, KL: 9, Entropy: 0.001}, "entropy collapse"},
	} {
		var w watch
		w.see(&d, first)
		warm := well
		for range d.MinIterations {
			if f := w.see(&d, warm); f != nil {
				t.Errorf("%s: a run that is well is found to have %s", name, f.rule)
			}
		}
		w.see(&d, c.then)
		f := w.see(&d, c.then)
		if got := ruleOf(f); got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
		if f != nil && !strings.Contains(f.text, ": ") && !strings.Contains(f.text, ";") {
			t.Errorf("%s: the finding names no remedy: %s", name, f.text)
		}
		off := d
		off.On = "off"
		if f := w.see(&off, c.then); f != nil {
			t.Errorf("%s: found %s although rules are off", name, f.rule)
		}
	}
}

func ruleOf(f *finding) string {
	if f == nil {
		return ""
	}
	return f.rule
}

// TestOneNegativeIteration is no finding.
func TestOneNegativeIteration(t *testing.T) {
	d := defaultRollouts().Diagnosis
	var w watch
	for i := range 20 {
		kl := 1.0
		if i%2 == 0 {
			kl = -5
		}
		if f := w.see(&d, observation{KL: kl, Entropy: 1}); f != nil {
			t.Fatalf("iteration %d: %s", i, f.rule)
		}
	}
}
