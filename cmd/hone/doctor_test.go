package main

import (
	"bytes"
	"context"
	"testing"

	"hone/cmd/hone/cli"
)

// TestDoctorEnds when it is told to; it went on and told of a machine without Go.
func TestDoctorEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, &cli.App{Out: &out, Err: &errs}, []string{"doctor"}); code != 1 || out.Len() > 0 || errs.String() != "hone: interrupted\n" {
		t.Errorf("exit code %d, %q, %q", code, out.String(), errs.String())
	}
}
