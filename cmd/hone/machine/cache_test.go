package machine

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"hone/cmd/hone/cli"
	"hone/hub"
)

// TestHubByEnvironment: where the cache is, whose token is sent and to whom.
func TestHubByEnvironment(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "token"), []byte(" from-login\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env                    map[string]string
		endpoint, token, cache string
	}{
		{map[string]string{"HF_HOME": home}, "https://huggingface.co", "from-login", filepath.Join(home, "hub")},
		{map[string]string{"HF_HOME": home, "HF_TOKEN": "mine", "HF_ENDPOINT": "http://mirror/"}, "http://mirror", "mine", filepath.Join(home, "hub")},
		{map[string]string{"HF_HOME": home, "HF_HUB_CACHE": "/models"}, "https://huggingface.co", "from-login", "/models"},
		{map[string]string{"XDG_CACHE_HOME": "/c"}, "https://huggingface.co", "", filepath.Join("/c", "huggingface", "hub")},
		{map[string]string{"HF_HOME": home, "HF_TOKEN": " mine\r\n", "HUGGINGFACE_HUB_CACHE": "/old"}, "https://huggingface.co", "mine", "/old"},
		{map[string]string{"HOME": home, "HF_HOME": "~/h", "HF_HUB_CACHE": "~/m", "HF_TOKEN_PATH": filepath.Join(home, "token"), "HF_TOKEN": "\n"}, "https://huggingface.co", "from-login", filepath.Join(home, "m")},
		{map[string]string{"HOME": home, "HF_HOME": "~/h"}, "https://huggingface.co", "", filepath.Join(home, "h", "hub")},
	} {
		for _, name := range []string{"HOME", "HF_HOME", "HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"} {
			t.Setenv(name, c.env[name])
		}
		client, err := hubClient()
		if err != nil || client.Endpoint != c.endpoint || client.Token != c.token || client.Cache != c.cache || client.Agent != "hone/"+cli.Version {
			t.Errorf("%v: %+v, %v", c.env, client, err)
		}
	}
	t.Setenv("HF_ENDPOINT", "mirror")
	if _, err := hubClient(); err == nil || err.Error() != `HF_ENDPOINT is "mirror"; it must begin with https:// or http://` {
		t.Errorf("an address without a scheme: %v", err)
	}
	t.Setenv("HF_ENDPOINT", "")
	t.Setenv("HF_TOKEN", "two words")
	if _, err := hubClient(); err == nil || err.Error() != "the token in HF_TOKEN has spaces or other characters that no token has; copy it anew" {
		t.Errorf("a token that no request can carry: %v", err)
	}
	p := hub.Progress{FilesDone: 1, Files: 3, BytesIn: 6e6, Cached: 2e6, Bytes: 10e6}
	if got, want := pullLine(p, 2*time.Second), "1 of 3 files  6.0 of 10.0 MB  2.0 MB/s"; got != want {
		t.Errorf("a download is %q, want %q", got, want)
	}
}

// TestOffline: the first variable that says anything counts.
func TestOffline(t *testing.T) {
	for _, c := range []struct{ hub, transformers, want string }{
		{"", "", ""}, {"yes", "", "HF_HUB_OFFLINE"}, {"", "1", "TRANSFORMERS_OFFLINE"}, {"0", "1", ""}, {"1", "0", "HF_HUB_OFFLINE"}, {"", "off", ""},
	} {
		t.Setenv("HF_HUB_OFFLINE", c.hub)
		t.Setenv("TRANSFORMERS_OFFLINE", c.transformers)
		if got := offlineBy(); got != c.want {
			t.Errorf("HF_HUB_OFFLINE=%s TRANSFORMERS_OFFLINE=%s: %q, want %q", c.hub, c.transformers, got, c.want)
		}
	}
}
