package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// clockNumber is a directive of strftime that prints a number, at least so wide, padded by default with zeros or spaces.
type clockNumber struct {
	of    func(t time.Time) int
	width int
	pad   byte
}

// clockNumbers and clockTexts are the directives of the C library in its C locale (glibc, time/strftime_l.c).
var clockNumbers = map[byte]clockNumber{
	'C': {func(t time.Time) int { return t.Year() / 100 }, 2, '0'},
	'd': {time.Time.Day, 2, '0'},
	'e': {time.Time.Day, 2, ' '},
	'g': {func(t time.Time) int { year, _ := t.ISOWeek(); return year % 100 }, 2, '0'},
	'G': {func(t time.Time) int { year, _ := t.ISOWeek(); return year }, 1, '0'},
	'H': {time.Time.Hour, 2, '0'},
	'I': {hour12, 2, '0'},
	'j': {time.Time.YearDay, 3, '0'},
	'k': {time.Time.Hour, 2, ' '},
	'l': {hour12, 2, ' '},
	'm': {func(t time.Time) int { return int(t.Month()) }, 2, '0'},
	'M': {time.Time.Minute, 2, '0'},
	's': {func(t time.Time) int { return int(t.Unix()) }, 1, '0'},
	'S': {time.Time.Second, 2, '0'},
	'u': {func(t time.Time) int { return fromMonday(t) + 1 }, 1, '0'},
	'U': {func(t time.Time) int { return (t.YearDay() + 6 - int(t.Weekday())) / 7 }, 2, '0'}, // weeks begin on Sundays
	'V': {func(t time.Time) int { _, week := t.ISOWeek(); return week }, 2, '0'},
	'w': {func(t time.Time) int { return int(t.Weekday()) }, 1, '0'},
	'W': {func(t time.Time) int { return (t.YearDay() + 6 - fromMonday(t)) / 7 }, 2, '0'},
	'y': {func(t time.Time) int { return t.Year() % 100 }, 2, '0'},
	'Y': {time.Time.Year, 1, '0'},
}

// hour12 is 12, 1, ..., 11, twice a day.
func hour12(t time.Time) int { return (t.Hour()+11)%12 + 1 }

// fromMonday is the number of days since Monday.
func fromMonday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

// clockTexts are layouts of Go's time package; Z and z are empty, as the reference's clock has no zone.
var clockTexts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'D': "01/02/06", 'F': "2006-01-02", 'h': "Jan",
	'n': "\n", 'p': "PM", 'P': "pm", 'r': "03:04:05 PM", 'R': "15:04", 't': "\t", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05",
	'z': "", 'Z': "", '%': "%",
}

// strftime formats a time as C does. Flags between the percent sign and the letter: - no padding, _ spaces, 0 zeros, ^ and # capitals.
// What is no directive stays as it is written.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		end := i + 1
		for end < len(format) && strings.IndexByte("-_0^#", format[end]) >= 0 {
			end++
		}
		if end == len(format) {
			b.WriteString(format[i:])
			break
		}
		s, ok := directive(t, format[i+1:end], format[end])
		if !ok {
			s = format[i : end+1]
		}
		b.WriteString(s)
		i = end
	}
	return b.String()
}

// directive is one letter with its flags; ok is false for what is none.
func directive(t time.Time, flags string, c byte) (s string, ok bool) {
	if c == 'f' && flags == "" { // Python's own
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	}
	if n, ok := clockNumbers[c]; ok {
		for _, f := range []byte(flags) {
			switch f {
			case '-':
				n.width = 0
			case '_':
				n.pad = ' '
			case '0':
				n.pad = '0'
			}
		}
		s := strconv.Itoa(n.of(t))
		return strings.Repeat(string(n.pad), max(0, n.width-len(s))) + s, true
	}
	layout, ok := clockTexts[c]
	if !ok {
		return "", false
	}
	s = t.Format(layout)
	switch {
	case c == 'p' && strings.Contains(flags, "#"):
		s = strings.ToLower(s)
	case c == 'P' || c == 'c' && !strings.Contains(flags, "^"):
	case strings.ContainsAny(flags, "^#"):
		s = strings.ToUpper(s)
	}
	return s, true
}
