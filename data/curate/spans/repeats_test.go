package spans

import "testing"

// TestWhatIsComparedOfUnits: letters of any script in lower case, digits of any as 0, single spaces between, and all of what is nothing but signs.
func TestWhatIsComparedOfUnits(t *testing.T) {
	for text, want := range map[string]string{"  Home,  PAGE 12! ": "home page 00", "\u0663 Äb - Ω": "0 äb ω", "«…» !": "«…» !", "a\u2003b": "a b", "": "", "1": "0", "€5": "€0"} {
		if got := string(Repeats{Normalize: true}.normal(nil, text)); got != want {
			t.Errorf("%q is compared as %q, want %q", text, got, want)
		}
		if got := string(Repeats{}.normal(nil, text)); got != text {
			t.Errorf("%q is compared as %q without normalize", text, got)
		}
	}
}
