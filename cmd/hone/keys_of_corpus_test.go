package main

import (
	"testing"

	"hone/cmd/hone/clitest"
	"hone/data/curate"
)

func TestKeysOfResultsCorpus(t *testing.T) {
	clitest.Keys(t, "data curate, data check", curate.Result{}, "read steps exact_duplicates near_duplicates duplicate_ids cuts kept searched notes examples scores labels clusters")
}
