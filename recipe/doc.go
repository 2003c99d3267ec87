// Package recipe is the run that every recipe of training shares. A recipe, in a package below this one, is a
// struct of documented keys, a stream of batches and an objective; this package has the keys they have in
// common, the run's folder, the methods (which weights are trained), the plan of a run, and the run itself,
// which a recipe shapes by its Stage.
//
//	Execute ─► Stage.OpenData ─► openModel (plan, model, method) ─► openOptimizer ─► openLoop (Stage.SetLoop, checkpoints)
//	        ─► beforehand (what the stage computes of the weights) ─► start (resume, metrics) ─► describe
//	        ─► train.Loop.Run ─► saveResult (OUT/model or OUT/adapter)
//
// A recipe's Run does no more than validate and call Execute (lm/pretrain.go is the shortest):
//
//	recipe.Execute(ctx, &recipe.Run{
//		Stage: &pretraining{c: c}, Training: &c.Training, Recipe: c, From: c.Model.Dir, Env: env, NextToken: true,
//	})
//
// The interfaces of stage.go are the places at which one stage may differ from another; all else is the same
// code for all of them, so that resume, early stopping, adapters, plans and reports need no word in a recipe.
//
//	run.go, stage.go                     the run; where stages differ
//	training.go, groups.go               the keys that all stages share
//	method.go, prompt.go                 which weights are trained: all, LoRA's, or virtual tokens
//	objective.go                         predicting the next token; a batch as a model takes it
//	folder.go, result.go, env.go         OUT; what comes of a run; what the caller provides
//	plan.go, rehearse.go, foresight.go   what a run will take, and beside it what it took
//	unused.go                            keys that change nothing as the others are
package recipe
