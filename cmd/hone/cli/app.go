// Package cli is what the commands of hone share: the outside world as they see it (App), how a command line is run and what is said of mistakes in it,
// help pages, keys of recipes, texts and progress on a terminal, input that can be interrupted, and folders that are made whole or not at all.
package cli

import (
	"encoding/json"
	"io"

	"hone/plan/meter"
)

// Version is what hone calls itself.
const Version = "0.1.0"

// App is what every command needs of the outside world.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	JSON     bool // one result object on Out, everything else on Err

	Meters meter.Runs // of runs that were planned
}

// Result prints v as the command's one object with --json, and otherwise calls text.
func (a *App) Result(v any, text func(w io.Writer)) error {
	if !a.JSON {
		text(a.Out)
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, _ = a.Out.Write(append(line, '\n')) // what fails there is told by main, as for text
	return nil
}

// Notes is where progress goes: beside the result.
func (a *App) Notes() io.Writer {
	if a.JSON {
		return a.Err
	}
	return a.Out
}
