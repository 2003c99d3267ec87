package recipe

import (
	"strings"

	"hone/reward"
)

// Models points at the keys that name folders of models and are set, so that a caller may put in their place the folders
// that shorter names stand for.
func (c *Pretrain) Models() []*string { return named(&c.Model.Dir) }

// Models is as of Pretrain.
func (c *SFT) Models() []*string { return named(&c.Model) }

// Models is as of Pretrain.
func (c *Preferences) Models() []*string { return named(&c.Model) }

// Models is as of Pretrain, with rewards that are no rules but paths or names of models.
func (c *Rollouts) Models() []*string {
	models := named(&c.Model)
	for i, spec := range c.Reward {
		if _, rule, err := reward.Parse(spec, c.programs()); err == nil && !rule && strings.Contains(spec, "/") {
			models = append(models, &c.Reward[i])
		}
	}
	return models
}

// Models is as of Rollouts, with the critic's.
func (c *PPO) Models() []*string { return append(c.Rollouts.Models(), named(&c.Critic.Model)...) }

func named(keys ...*string) (set []*string) {
	for _, key := range keys {
		if *key != "" {
			set = append(set, key)
		}
	}
	return set
}
