package kernels

import "testing"

func TestCacheNameFollowsWhatCodeDependsOn(t *testing.T) {
	names := map[string]bool{}
	for _, n := range []string{CacheName("norm", "a", 90, "13.2"), CacheName("norm", "b", 90, "13.2"), CacheName("norm", "a", 80, "13.2"), CacheName("norm", "a", 90, "12.4")} {
		names[n] = true
	}
	if len(names) != 4 {
		t.Errorf("four ways to compile have the names %v", names)
	}
}
