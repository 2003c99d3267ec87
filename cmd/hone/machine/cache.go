package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/hub"
	"hone/model"
)

// hubClient is the hub that the environment names.
func hubClient() (*hub.Client, error) {
	home, err := hubHome()
	if err != nil {
		return nil, err
	}
	c := &hub.Client{Endpoint: "https://huggingface.co", Cache: hubCache(home), Agent: "hone/" + cli.Version}
	if e := strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/"); e != "" {
		if !strings.HasPrefix(e, "https://") && !strings.HasPrefix(e, "http://") {
			return nil, fmt.Errorf("HF_ENDPOINT is %q; it must begin with https:// or http://", e)
		}
		c.Endpoint = e
	}
	if c.Token, err = hubToken(home); err != nil {
		return nil, err
	}
	return c, nil
}

// hubToken is the token of HF_TOKEN, or of the Python library's login.
func hubToken(home string) (string, error) {
	token, from := strings.TrimSpace(os.Getenv("HF_TOKEN")), "HF_TOKEN"
	if token == "" {
		if from = fromHome(os.Getenv("HF_TOKEN_PATH")); from == "" {
			from = filepath.Join(home, "token")
		}
		text, err := os.ReadFile(from)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("read the hub's token: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) { // no request can carry it
		return "", fmt.Errorf("the token in %s has spaces or other characters that no token has; copy it anew", from)
	}
	return token, nil
}

// offlineBy names the variable that forbids downloads, "" where none does. The first that says anything counts, as for the Python libraries.
func offlineBy() string {
	for _, name := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		if said := strings.ToUpper(os.Getenv(name)); slices.Contains([]string{"1", "ON", "YES", "TRUE"}, said) {
			return name
		} else if said != "" {
			break
		}
	}
	return ""
}

// hubHome is the folder of the Python libraries' files.
func hubHome() (string, error) {
	if home := os.Getenv("HF_HOME"); home != "" {
		return fromHome(home), nil
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(fromHome(cache), "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of models: %w; set HF_HOME", err)
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

// fromHome reads a ~ that no shell has seen, as in a file of variables, the way the Python libraries do.
func fromHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}

// hubCache is the folder of downloaded models within home, unless the environment names another; the second name is an old one.
func hubCache(home string) string {
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if c := os.Getenv(name); c != "" {
			return fromHome(c)
		}
	}
	return filepath.Join(home, "hub")
}

// ModelDir is the folder that a model's name means, on the command line and in recipes: the folder of that name, or else a model of the cache.
func ModelDir(arg string) (string, error) {
	if dir, named, err := cached(arg); named {
		return dir, err
	}
	return arg, isModel(arg)
}

// TokenizerPath is ModelDir for what need only be a tokenizer, in a folder or a file; "" stays that.
func TokenizerPath(arg string) (string, error) {
	if dir, named, err := cached(arg); named {
		return dir, err
	}
	return arg, nil
}

// cached finds a model in the cache. named is false where arg is a path that there is or that can be no model's name.
func cached(arg string) (dir string, named bool, err error) {
	// What is there wins: org/name may be a folder, and nobody expects a download to hide it.
	_, missing := os.Stat(arg)
	name, err := hub.ParseName(arg)
	if missing == nil || err != nil || strings.Count(name.Repo, "/") != 1 {
		return "", false, nil
	}
	home, err := hubHome()
	if err != nil {
		return "", true, err
	}
	if dir, ok := hub.Find(hubCache(home), name); ok {
		return dir, true, nil
	}
	if _, err := os.Stat(filepath.Dir(arg)); err == nil { // a path, then, such as that of a run which has not ended; who opens it knows what is wrong with it
		return "", false, nil
	}
	return "", true, fmt.Errorf("there is no folder %s and no model of that name in the cache; hone pull %s downloads it", arg, arg)
}

// isModel says what is wrong with a path that is neither the folder of a model nor, for reward models, that of an adapter.
func isModel(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, adapter.ConfigName)); err == nil {
		return nil
	}
	_, err := model.ReadConfig(dir)
	return err
}
