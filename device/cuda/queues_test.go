//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"
	"sync"
)

// queued is the queues of the emulated card. What may run late runs as late as the waits of others allow: a kernel that does not
// wait for a copy reads what was there before, and memory that is given to another before a copy of it is done is copied with
// what the other wrote.
type queued struct {
	late  lateness
	mu    sync.Mutex
	lists [queues]list
	marks []spot
	err   error // the first of what ran late
}

// lateness says which queues run late. The others run what they are given at once.
type lateness int

const (
	copiesLate lateness = iota
	kernelsLate
)

// list is what is on a queue: tasks from number done on have not run.
type list struct {
	tasks []func() error
	done  int
}

// spot is before task at of a queue.
type spot struct {
	queue queue
	at    int
}

func (e *queued) isLate(q queue) bool { return (q == compute) == (e.late == kernelsLate) }

// push puts a task on a queue.
func (e *queued) push(q queue, task func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lists[q].tasks = append(e.lists[q].tasks, task)
	if e.isLate(q) {
		return nil
	}
	return e.run(q, len(e.lists[q].tasks))
}

// run does the tasks of a queue up to number end, of which those that wait for another queue run it as far as they must.
func (e *queued) run(q queue, end int) error {
	l := &e.lists[q]
	for l.done < end {
		task := l.tasks[l.done]
		l.tasks[l.done] = nil
		l.done++
		if err := task(); err != nil && e.err == nil {
			e.err = err
		}
	}
	return nil
}

func (e *queued) mark(q queue, old mark) (mark, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := spot{q, len(e.lists[q].tasks)}
	if old != 0 {
		e.marks[old-1] = at
		return old, nil
	}
	e.marks = append(e.marks, at)
	return mark(len(e.marks)), nil
}

func (e *queued) placeOf(m mark) (spot, error) {
	if m == 0 || int(m) > len(e.marks) {
		return spot{}, fmt.Errorf("there is no mark %d", m)
	}
	return e.marks[m-1], nil
}

func (e *queued) wait(m mark) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.placeOf(m)
	return errors.Join(err, e.run(p.queue, p.at))
}

func (e *queued) await(q queue, m mark) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.placeOf(m) // as it is now: the mark may be made again before the task runs
	if err != nil {
		return err
	}
	e.lists[q].tasks = append(e.lists[q].tasks, func() error { return e.run(p.queue, p.at) })
	if e.isLate(q) {
		return nil
	}
	return e.run(q, len(e.lists[q].tasks))
}

func (e *queued) sync() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for q := range e.lists {
		if err := e.run(queue(q), len(e.lists[q].tasks)); err != nil {
			return err
		}
	}
	err := e.err
	e.err = nil
	return err
}
