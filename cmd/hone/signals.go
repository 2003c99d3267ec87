package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilStopped returns a context that the first Ctrl-C or SIGTERM ends, so that what runs can save and leave; a second one kills. A terminal that closes
// ends it, too, unless that is to be ignored, as nohup asks.
func untilStopped() context.Context {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // for good: a shell may say so twice, which must not kill what is about to save
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	go func() {
		<-ctx.Done()
		stop()
	}()
	return ctx
}
