// Package curate makes a clean corpus of a raw one: it puts documents through steps that mend or reject them, removes exact and near duplicates and what
// stood before, and writes what is left with an account of the rest, in memory that does not grow with the corpus. It surveys, samples and mixes
// corpora, too.
//
// What steps there are, what is compared and how is in the packages below it; here is what drives them over shards of documents on the disk, in an order
// that does not depend on the number of goroutines, and goes on where a run was stopped.
package curate
