// Package recipe is the run that every recipe of training shares. A recipe, in a package below this one, is a struct of documented keys, a
// stream of batches and an objective; this package has the keys they have in common, the run's folder, the methods (which weights are
// trained), the plan of a run, and the run itself, which a recipe shapes by its Stage.
package recipe
